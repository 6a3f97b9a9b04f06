"""The admin address beyond the loopback: probes get through, figures need the token."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.registry import Collector

from api.health import create_admin

TOKEN = "0123456789abcdef"
KUBELET = "10.0.0.7"


class Nothing(Collector):
    def collect(self) -> Any:
        return ()


async def ask(
    path: str, peer: str, token: str | None, *, sent: str | None = None, ready: str | None = None
) -> tuple[int, str]:
    app = create_admin(Nothing(), ready=lambda: ready, status=lambda: {"pid": 1}, token=token)
    headers = {"Authorization": sent} if sent is not None else {}
    answer = await app.test_client().get(path, headers=headers, scope_base={"client": (peer, 1)})
    return answer.status_code, await answer.get_data(as_text=True)


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.9.9.9"])
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/statusz", "/metrics"])
async def test_everything_is_readable_from_the_loopback(path: str, peer: str) -> None:
    assert (await ask(path, peer, None))[0] == 200
    assert (await ask(path, peer, TOKEN))[0] == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_kubelet_needs_no_token(path: str) -> None:
    assert (await ask(path, KUBELET, None))[0] == 200
    assert (await ask(path, KUBELET, TOKEN))[0] == 200


@pytest.mark.parametrize("path", ["/statusz", "/metrics"])
@pytest.mark.parametrize("peer", [KUBELET, "2001:db8::1", "::ffff:10.0.0.7", "", "nonsense"])
async def test_figures_need_the_token_elsewhere(path: str, peer: str) -> None:
    assert (await ask(path, peer, None))[0] == 403
    assert (await ask(path, peer, None, sent=f"Bearer {TOKEN}"))[0] == 403
    for wrong in ("", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", "Bearer é"):
        status, text = await ask(path, peer, TOKEN, sent=wrong)
        assert status == 401, wrong
        assert TOKEN not in text
    assert (await ask(path, peer, TOKEN, sent=f"Bearer {TOKEN}"))[0] == 200
    assert (await ask(path, peer, TOKEN, sent=f"bearer {TOKEN}"))[0] == 200


async def test_reasons_of_readiness_are_for_the_inside() -> None:
    reason = "waiting for the calls of kam-mil-1"
    assert (await ask("/readyz", KUBELET, TOKEN, ready=reason))[0] == 503
    assert "kam-mil-1" not in (await ask("/readyz", KUBELET, TOKEN, ready=reason))[1]
    assert "kam-mil-1" in (await ask("/readyz", "127.0.0.1", TOKEN, ready=reason))[1]
    shown = await ask("/readyz", KUBELET, TOKEN, sent=f"Bearer {TOKEN}", ready=reason)
    assert "kam-mil-1" in shown[1]
