"""What changed between two published versions that a client or an operator would have to follow.

``docs/versioning.md`` states the rule; a test compares what the code publishes now with
``docs/released/``, and ``python -m docs.release`` writes that folder when a version is released.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

Json = dict[str, Any]

_UPPER: Final = ("maximum", "maxLength", "maxItems")
_LOWER: Final = ("minimum", "minLength", "minItems")


def contract_breaks(old: Json, new: Json) -> list[str]:
    """Events that a bridge may send by ``old`` and that ``new`` refuses or ignores.

    Both are the JSON Schema of ``docs/contract.schema.json``.
    """
    found = []
    for name, schema in old["$defs"].items():
        if name not in new["$defs"]:
            found.append(f"{name} is gone")
        else:
            found += _refused(name, schema, new["$defs"][name])
    return found


def wire_breaks(old: Json, new: Json) -> list[str]:
    """What a client may rely on by ``old`` and ``new`` no longer gives: the events of the stream
    and its records. Both are ``components.schemas`` of ``docs/asyncapi.yaml``."""
    found = []
    for name in ("Call", "snapshot", "diff", "heartbeat", "kpi", "goodbye"):
        found += _missing(name, old[name], new[name])
    return found


def route_breaks(old: Json, new: Json) -> list[str]:
    """Routes, methods, parameters and good answers of ``docs/openapi.json`` that are gone."""
    found = []
    for path, methods in old["paths"].items():
        for method, told in methods.items():
            if method == "servers":
                continue
            now = new["paths"].get(path, {}).get(method)
            if now is None:
                found.append(f"{method.upper()} {path} is gone")
                continue
            names = {one["name"] for one in now.get("parameters", [])}
            for one in told.get("parameters", []):
                if one["name"] not in names:
                    found.append(f"{path} no longer knows {one['name']}")
            for status in told["responses"]:
                if status < "300" and status not in now["responses"]:
                    found.append(f"{method.upper()} {path} no longer answers {status}")
    return found


def setting_breaks(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Settings that are gone, or whose default is another one. Name → default."""
    found = []
    for name, value in old.items():
        if name not in new:
            found.append(f"{name} is gone")
        elif new[name] != value:
            found.append(f"{name} is {new[name]!r} by default, not {value!r}")
    return found


def metric_breaks(old: dict[str, Json], new: dict[str, Json]) -> list[str]:
    """Metrics that are gone, of another type, or without a label. Name → type and labels."""
    found = []
    for name, told in old.items():
        now = new.get(name)
        if now is None:
            found.append(f"{name} is gone")
        elif now["type"] != told["type"]:
            found.append(f"{name} is a {now['type']}, not a {told['type']}")
        elif told["labels"] and now["labels"] and told["labels"] != now["labels"]:
            found.append(f"{name} has the labels {now['labels']}, not {told['labels']}")
    return found


def _refused(path: str, old: Json, new: Json) -> Iterator[str]:
    """For what comes in: ``new`` must take everything that ``old`` takes."""
    old, new = _one(old), _one(new)
    if lost := _types(old) - _types(new):
        yield f"{path} no longer takes {', '.join(sorted(lost))}"
    if lost := _values(old) - _values(new):
        yield f"{path} no longer takes the value {', '.join(sorted(map(str, lost)))}"
    for names, sign in ((_UPPER, 1), (_LOWER, -1)):
        for name in names:
            if name in new and (name not in old or sign * (new[name] - old[name]) < 0):
                yield f"{path} is narrower: {name} {new[name]}"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{path} has another pattern"
    for name in set(new.get("required", ())) - set(old.get("required", ())):
        yield f"{path}.{name} is required now"
    for name, schema in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            yield f"{path}.{name} is ignored now"
        else:
            yield from _refused(f"{path}.{name}", schema, new["properties"][name])
    if "items" in old and "items" in new:
        yield from _refused(f"{path}[]", old["items"], new["items"])


def _missing(path: str, old: Json, new: Json) -> Iterator[str]:
    """For what goes out: ``new`` gives all that ``old`` gives, and nothing that it forbids."""
    if more := _types(new) - _types(old):
        yield f"{path} can be {', '.join(sorted(more))} now"
    if _values(old) and (more := _values(new) - _values(old)):
        yield f"{path} can be {', '.join(sorted(map(str, more)))} now"
    for name in set(old.get("required", ())) - set(new.get("required", ())):
        yield f"{path}.{name} may be absent now"
    for name, schema in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            yield f"{path}.{name} is gone"
        else:
            yield from _missing(f"{path}.{name}", schema, new["properties"][name])
    if "items" in old and "items" in new:
        yield from _missing(f"{path}[]", old["items"], new["items"])


def _one(schema: Json) -> Json:
    """An optional field's schema without the ``null`` that stands for its absence."""
    options = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    return schema | options[0] if len(options) == 1 else schema


def _types(schema: Json) -> set[str]:
    told = schema.get("type", [])
    return {told} if isinstance(told, str) else set(told)


def _values(schema: Json) -> set[Any]:
    return {schema["const"]} if "const" in schema else set(schema.get("enum", ()))
