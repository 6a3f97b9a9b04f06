"""From, R-URI and To as networks write them, and what people read of them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import pytest

from livestate.bridge.kamailio.identity import parties, readable

VECTORS: Final = json.loads(
    (Path(__file__).parents[2] / "vectors" / "identities.json").read_text("utf-8")
)


def dialled_in(ruri: str) -> str:
    """livestate.cfg notes the user of a request's URI, or all of it where it has none."""
    rest = ruri.partition(":")[2]
    return rest.partition("@")[0] if "@" in rest else ruri


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["what"])
def test_from_and_to_show_what_an_engineer_reads(vector: dict[str, Any]) -> None:
    shown = parties(vector["from"], dialled_in(vector["ruri"]), vector["to"])
    assert shown == vector["shows"]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sip:alice@home.example@acme.example", "alice@home.example"),
        ("sip:alice;day=tuesday@acme.example;x=a@b", "alice"),
        ("sip:1000@acme.example;tag=7", "1000"),
        ("sip:@acme.example", None),
        ("sip:acme.example", None),
        ("sip:acme.example;x=1?h=v", None),
        ("mailto:alice@acme.example", "alice@acme.example"),
        ("Alice <sip:1000@acme.example>;tag=x", "1000"),
        ('"a \\" <sip:no@x>" <sip:yes@x>', "yes"),
        ("1000@acme.example", "1000"),
        ("1000", "1000"),
        ("%2B442070", "+442070"),
        ("tel:", None),
        ("TEL:+39021", "+39021"),
        ("URN:service:sos", "URN:service:sos"),
        ("sip:", None),
        ("sip: @x", None),
        ("", None),
        ("<null>", None),
        ("sip:<null>@x", None),
        ("<", "<"),
        ('"', '"'),
        (None, None),
        (7, "7"),
        (["sip:a@b"], None),
        ("sip:%00@x", "%00"),
        ("sip:a\x07b@x", "a%07b"),
        ("sip:a\u202eb@x", "a\u202eb"),
    ],
)  # fmt: skip
def test_an_address_is_read_whatever_it_is(address: object, shown: str | None) -> None:
    assert readable(address) == shown


@pytest.mark.parametrize("filler", [" ", '"', "\\", "<", ">", "@", ";", "%", "a", '\\"', ":", "["])
@pytest.mark.parametrize("frame", ["{}", "sip:{}@x", '"{}', '"{}" <sip:a@b>', "sip:a@{}", "{}<a"])
def test_reading_an_address_takes_time_in_proportion_to_its_length(frame: str, filler: str) -> None:
    def seconds(length: int) -> float:
        address = frame.format(filler * length)
        took = []
        for _ in range(3):
            began = time.thread_time()
            parties(address, address, address)
            took.append(time.thread_time() - began)
        return min(took)

    # 16 times as long: quadratic would be 256 times as slow.
    assert seconds(64_000) < 100 * seconds(4_000) + 0.01
