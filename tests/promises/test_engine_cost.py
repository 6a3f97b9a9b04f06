"""What an engine sends: one message for each frame and view, however many edges and clients."""

from __future__ import annotations

from collections import Counter

from livestate.state.access import Scope
from tests.calls import event
from tests.dashboards import Client
from tests.promises.test_tenant_bytes import AtAnEdge

CHANGES = 20
SCOPES = (Scope(), Scope("101"), Scope(trunks=frozenset({"gw-a"})))


def sent(edges: int, clients: int) -> Counter[str]:
    """How many messages went to each subject, while so many clients on each edge got all changes
    of company 101, and calls of company 102 changed as often."""
    place = AtAnEdge(edges)
    joined = [
        Client(edge.hub, scope)
        for edge in place.edges
        for scope in SCOPES[: 1 if clients == 1 else None]
        for _ in range(clients)
    ]
    for edge in place.edges:
        edge.follow(None)
        edge.follow("101")
    for client in joined:
        client.join()
    place.sent.clear()
    for seq in range(1, CHANGES + 1):
        for company in ("101", "102"):
            told = event("setup", seq, node=f"n{company}", dialog=f"{seq}.1", trunk="gw-a",
                         call_id=f"{company}-{seq}", company_id=company)  # fmt: skip
            change = place.table.apply(told, place.now)
            assert change is not None
            place.note(change)
        place.loop.advance(0.2)
        for client in joined:
            client.read()
    for client in joined:
        calls = CHANGES if client.scope.company_id else 2 * CHANGES
        assert len(client.dashboard.calls) == calls
    return Counter(place.sent)


def test_an_engine_sends_no_more_for_more_edges_and_clients() -> None:
    one = sent(edges=1, clients=1)
    # The views of all calls and of company 101; no edge watches 102. Each has its frames and a
    # heartbeat every 5 s.
    assert len(one) == 2
    assert all(CHANGES <= number <= CHANGES + 2 for number in one.values())
    assert sent(edges=2, clients=1) == sent(edges=8, clients=12) == one
