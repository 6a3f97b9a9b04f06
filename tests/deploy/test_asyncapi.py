"""``docs/asyncapi.yaml``: it is AsyncAPI, and real events of NATS and of a stream fit it."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from api.cli.child_service import Instance
from docs.asyncapi import PHASES, specification
from livestate.contract.events import EVENT, SUBJECTS
from livestate.contract.events import PHASES as KNOWN
from tests.harness import Node, Stream, cdr, now_ms

# Of https://github.com/asyncapi/spec-json-schemas (Apache License 2.0), 3.0.0 without `$id`.
SCHEMA = Path(__file__).parent / "asyncapi-3.0.0.schema.json.gz"
Document = dict[str, Any]


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(json.loads(gzip.decompress(SCHEMA.read_bytes())))


def test_the_document_is_asyncapi(validator: jsonschema.Draft7Validator) -> None:
    errors = [error.message[:200] for error in validator.iter_errors(specification())]
    assert errors == []


BREAKS: dict[str, Callable[[Document], Any]] = {
    "another version": lambda d: d.update(asyncapi="2.6.0"),
    "no title": lambda d: d["info"].pop("title"),
    "an action that is none": lambda d: d["operations"]["sendStream"].update(action="publish"),
    "a server without protocol": lambda d: d["servers"]["nats"].pop("protocol"),
    "a payload that is no schema": lambda d: d["components"]["schemas"]["Setup"].update(type=7),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_document_is_refused(validator: jsonschema.Draft7Validator, what: str) -> None:
    broken = copy.deepcopy(specification())
    BREAKS[what](broken)
    assert not validator.is_valid(broken)


def test_every_reference_leads_somewhere() -> None:
    document = specification()

    def look(value: Any) -> None:
        if isinstance(value, list):
            for one in value:
                look(one)
        elif isinstance(value, dict):
            if isinstance(reference := value.get("$ref"), str):
                place: Any = document
                for name in reference.removeprefix("#/").split("/"):
                    place = place[name]
            for one in value.values():
                look(one)

    look(document)


def test_every_subject_of_the_contract_is_a_channel() -> None:
    addresses = {channel["address"] for channel in specification()["channels"].values()}
    assert set(SUBJECTS) <= addresses
    assert set(PHASES.values()) == KNOWN | {"copies"}


def fits(name: str, payload: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": specification()["components"]}
    jsonschema.Draft202012Validator(schema).validate(payload)


async def test_the_events_of_a_real_stream_fit(service: Instance, node: Node) -> None:
    token = service.token("noc")
    await node.call("kept", company_id="asyncapi", trunk="gw-a")
    async with await Stream.open(service.url, token) as stream:
        await stream.until(lambda s: s.named("heartbeat") and s.named("snapshot"))
        await node.call("gone", state="ringing", company_id="asyncapi", from_="1", to="2")
        await node.say("failed", "gone", sip_code=486, outcome="busy", ended_at=now_ms())
        await stream.until(lambda s: any("ended" in one for one in s.named("diff")))
        for name in ("snapshot", "diff", "heartbeat", "kpi"):
            for data in stream.named(name):
                fits(name, data)
    for wrong in ({}, {"as_of": 1}, {"as_of": "now", "calls": {}}, {"as_of": 1, "calls": {"k": 1}}):
        with pytest.raises(jsonschema.ValidationError):
            fits("diff", wrong)


async def test_what_a_node_says_fits(node: Node) -> None:
    written = cdr(node, "d1", outcome="answered", sip_code=200)
    fits("Ended", written)
    EVENT.validate_json(json.dumps(written))
    with pytest.raises(jsonschema.ValidationError):
        fits("Ended", written | {"seq": "7"})
