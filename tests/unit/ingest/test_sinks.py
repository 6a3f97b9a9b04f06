"""Sinks get every change of every call, each once and in order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from livestate.state.active_calls import Change
from livestate.state.call import Call
from tests.examples import examples
from tests.unit.ingest.feeding import Fed, Raw, raw, sync

DIALOGS = st.sampled_from(["1.1", "2.2", "3.3"])
SEQS = st.integers(1, 30)
EPOCHS = st.sampled_from([1, 1, 1, 2])


def copies(seq: int, owner: str, *dialogs: str, **fields: Any) -> Raw:
    calls = [{"call_id": "c1", "dialog": dialog, "state": "answered", "owner": owner}
             for dialog in dialogs]  # fmt: skip
    facts = {"sync_id": f"c{seq}", "part": 1, "parts": 1, "calls": calls}
    return raw("copies", seq, **(facts | fields))


MESSAGES = st.one_of(
    st.builds(
        raw, st.sampled_from(["setup", "ringing", "answered", "hold", "ended", "heartbeat"]),
        SEQS, epoch=EPOCHS, dialog=DIALOGS, node=st.sampled_from(["n1", "n2"]),
        company_id=st.sampled_from(["101", "102"]),
    ),
    st.builds(lambda seq, dialogs, fields: sync(seq, *dialogs, **fields), SEQS,
              st.lists(DIALOGS, unique=True),
              st.fixed_dictionaries({"epoch": EPOCHS, "node": st.sampled_from(["n1", "n2"])})),
    st.builds(lambda seq, dialogs: copies(seq, "n1", *dialogs, node="n2"), SEQS,
              st.lists(DIALOGS, unique=True)),
    st.builds(raw, st.just("lost"), SEQS, epoch=EPOCHS, dialog=DIALOGS),
)  # fmt: skip
STEPS = st.one_of(
    MESSAGES, MESSAGES, MESSAGES,
    st.builds(raw, st.just("ended"), SEQS, dialog=DIALOGS).map(lambda one: ("cdr.raw", one[1])),
    st.sampled_from(["n1", "n2"]),  # no copies of this node's calls exist
    st.integers(1_000, 9_000),  # ms pass
)  # fmt: skip


@given(st.lists(STEPS, max_size=40))
@settings(max_examples=examples(300), deadline=None)
def test_a_sink_has_every_call_as_the_table_has_it(steps: list[Raw | str | int]) -> None:
    """Redis, the page and the KPIs see the table only through its changes. The oracle is a copy
    that is made of nothing else."""
    fed = Fed()
    copy: dict[str, Call] = {}
    for step in steps:
        if isinstance(step, int):
            fed.settle(step)
        elif isinstance(step, str):
            fed.pipeline.mark_unconfirmed(step, None)
        elif step[0] == "cdr.raw":
            fed.pipeline.handle_cdr(step[1])
        else:
            fed.take(step)
        changes: list[Change] = fed.recorder.changes
        for change in changes:
            key = change.after.key
            assert change.before == copy.get(key)
            copy[key] = change.after
        changes.clear()
        assert shown(copy) == shown(fed.table.calls)


def shown(calls: dict[str, Call]) -> dict[str, tuple[object, ...]]:
    """The visible part of each call, and the outcome of those that ended."""
    return {
        key: (call.state, call.unconfirmed, call.attributes, call.live or call.conclusion)
        for key, call in calls.items()
    }
