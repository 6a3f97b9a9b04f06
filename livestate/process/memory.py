"""Configures the memory allocator and the cycle collector.

The composition root calls :func:`set_up_allocator` and :func:`set_up_collector` once at the start,
and gives :class:`Untracked` to the pipeline as its last sink. Together they guarantee two parts of
promise K: memory that a burst took goes back to the system when the burst is over, and no
collection of cycles grows with the number of live calls.

**Allocator.** glibc maps a block of its own for each large allocation and unmaps it when it is
freed. But each large block that is freed raises the limit from which a block is "large", up to
32 MB. From then on the tables and buffers of a burst lie in the heap, between small objects that
stay, and the heap cannot shrink: 300 MB stayed after 16 filtered views of 50,000 calls. A limit
that is set stays as it is. 72 KB is above the four tables of 64 KB that zlib allocates for each
frame; as mappings those would cost 80 µs a frame.

**Collector.** It walks every tracked container and looks at each object in it: 135 ms for 50,000
calls of which each has 26 fields. CPython stops to track a plain tuple that holds only numbers and
text, but not an instance of a subclass. A call has one such part, so it and the call are taken out
of the collector's lists by ``PyObject_GC_UnTrack``. A call refers to numbers, texts and a
dictionary of numbers, never to something that refers back to it: it cannot be part of a cycle, so
its reference count frees it.
"""

from __future__ import annotations

import ctypes
import gc
import platform
from collections.abc import Callable, Iterator
from gc import is_tracked
from typing import Any, Final

from livestate.state.active_calls import Change
from livestate.state.view import View

MMAP_BYTES: Final = 72 * 1024
TRIM_BYTES: Final = 4 * 1024 * 1024  # free memory at the top of the heap that is kept for reuse
ARENAS: Final = 2  # heaps of malloc: each thread has one of its own otherwise
_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8

# Tracked objects made and not freed since the last collection: of the young generation; then how
# many of those until one of the middle generation, and of these until one of everything. A
# collection takes up to a third of a microsecond an object. The middle generation is 60,000
# objects at most. All garbage in cycles is found after 6 × 60,000 objects, about 50 MB.
THRESHOLDS: Final = (20_000, 2, 5)


def set_up_allocator() -> bool:
    """Return large blocks to the system as soon as they are free. False if malloc is not glibc's;
    nothing changes then."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(
        (
            mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES),
            mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES),
            mallopt(_M_ARENA_MAX, ARENAS),
        )
    )


def set_up_collector() -> None:
    """Exclude all present objects from collections, and keep collections of later ones short.
    Called after the table was restored, and after each replacement of it."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(*THRESHOLDS)


def _of_the_interpreter() -> Callable[[object], None]:
    if platform.python_implementation() != "CPython":
        return lambda value: None
    untrack: Any = ctypes.pythonapi.PyObject_GC_UnTrack
    untrack.argtypes, untrack.restype = [ctypes.py_object], None
    return untrack  # type: ignore[no-any-return]


# Only for what is tracked: it writes before the object, where others have nothing of theirs.
_untrack: Final = _of_the_interpreter()


def untrack(value: object) -> None:
    """Take an object out of the collector's lists, if it is in one: a call of the compiled build
    is in none (:mod:`livestate.state.acyclic`)."""
    if is_tracked(value):
        _untrack(value)


class Untracked:
    """A sink that takes each new record of a call out of the collector's lists: 1 µs a change. So
    it does with views and the figures of companies, 13 objects of 17 each: one list of a node may
    name 10,000 companies. Their functions stay tracked: CPython frees no untracked one."""

    def __init__(self, company_parts: Callable[[str], Iterator[object]]) -> None:
        """``company_parts`` gives the objects that are made with a company's first call."""
        self._company_parts = company_parts

    def on_change(self, change: Change) -> None:
        call = change.after
        if change.before is None:
            for view in change.views:
                if is_tracked(view):
                    self._new_view(view)
        if is_tracked(call):  # spelled out, for every change comes here: ``untrack``
            _untrack(call)
        if is_tracked(call.attributes):
            _untrack(call.attributes)

    def _new_view(self, view: View) -> None:
        company = view.scope.company_id
        for part in view.parts():
            untrack(part)
        if company is not None and not view.filtered:
            for part in self._company_parts(company):
                untrack(part)
