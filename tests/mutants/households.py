"""The modules in which ``make mutants`` plants faults, and the tests that must notice each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Household:
    """Modules, and the tests that must notice a fault in any of them, within a minute.

    The tests call the modules in their own process. Those that start the service are left out: on
    a busy machine it starts late, and that would pass for a fault that was noticed."""

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]


def _files(*patterns: str) -> tuple[str, ...]:
    """The files that match, without the packages' own; a pattern without a match is an error."""
    found = []
    for pattern in patterns:
        files = sorted(ROOT.glob(pattern))
        assert files, f"nothing matches {pattern}"
        found += [str(file.relative_to(ROOT)) for file in files if file.name != "__init__.py"]
    return tuple(found)


_STATE: Final = _files("tests/unit/state/test_*.py")
_FOLD: Final = (*_STATE, *_files("tests/promises/test_order.py", "tests/promises/test_view.py",
                                 "tests/unit/ingest/test_pipeline*.py",
                                 "tests/unit/ingest/test_sinks.py",
                                 "tests/unit/store/test_merge.py"))  # fmt: skip
_INGEST: Final = _files("tests/unit/ingest/test_[mp]*.py", "tests/unit/ingest/test_sinks.py",
                        "tests/unit/ingest/test_ticks*.py")  # fmt: skip

HOUSEHOLDS: Final = (
    Household("state", _files("livestate/state/*.py"), _FOLD),
    Household("nodes", _files("livestate/state/nodes/*.py"), (*_STATE, *_INGEST)),
    Household("kpi", _files("livestate/state/kpi/*.py"),
              _files("tests/unit/state/test_kpi*.py", "tests/unit/state/test_trunks.py",
                     "tests/unit/ingest/test_pipeline*.py", "tests/unit/ingest/test_sinks.py")),
    Household("contract", _files("livestate/contract/[!em]*.py", "livestate/contract/events.py"),
              _files("tests/unit/contract/*.py", "tests/unit/state/test_call.py",
                     "tests/unit/state/test_dialog_list.py",
                     "tests/unit/ingest/test_pipeline*.py")),
    Household("store", _files("livestate/store/record.py", "livestate/store/merge.py"),
              _files("tests/unit/store/test_merge.py", "tests/unit/state/test_active_calls*.py",
                     "tests/unit/store/test_record.py")),
    Household("ingest", _files("livestate/ingest/pipeline.py", "livestate/ingest/monitor.py",
                               "livestate/ingest/dialog_lists.py", "livestate/ingest/sinks.py"),
              (*_INGEST, *_STATE)),
    Household("fan-out", _files("livestate/fanout/*.py"),
              _files("tests/unit/fanout/test_[!c]*.py", "tests/unit/fanout/test_c[ho][en]*.py",
                     "tests/promises/test_tenant_bytes.py", "tests/unit/client/test_fold.py",
                     "tests/promises/test_view.py")),
    Household("client", _files("livestate/client/fold.py", "livestate/client/sse.py"),
              _files("tests/unit/client/test_fold.py")),
)  # fmt: skip
