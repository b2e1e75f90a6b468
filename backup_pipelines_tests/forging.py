"""Manifests changed by hand: every field in turn, with the old seal or with one that fits again."""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from backup_pipelines import manifest

# Of fields with few allowed values another one, so that what is changed is not just malformed.
_OTHERS = {
    "type": {"manual": "scheduled"},
    "scope": {"full": "modules"},
    "kind": {"table": "partitioned", "partitioned": "table"},
    "section": {"pre-data": "post-data", "post-data": "pre-data"},
    "encoding": {"native": "text", "text": "native", "decimal": "text"},
    "identity": {"": "always", "always": "by default", "by default": "always"},
    "generated": {"": "stored", "stored": "virtual", "virtual": ""},
}

_HEX = re.compile(r"[0-9a-f]{16}|[0-9a-f]{64}")


def resealed(document: Any) -> bytes:
    """A changed manifest with the seal that its writer would give it."""
    content = {name: value for name, value in document.items() if name != "seal"}
    return manifest.with_seal(json.dumps(content, indent=1).encode())


def unsealed(document: Any) -> bytes:
    """A changed manifest as it is written, with whatever seal it has."""
    return json.dumps(document, indent=1).encode()


@dataclass(frozen=True)
class Forgery:
    """A manifest with one change."""

    field: str
    """Which field, as `tables[].parts[].rows`; `tables[partitioned]` has no parts."""
    change: str
    document: Any

    def __str__(self) -> str:
        return f"{self.field} {self.change}"


def forgeries(document: Any) -> Iterator[Forgery]:
    """Every field of a manifest changed in turn: other values, keys removed, lists cut, doubled."""
    for steps in _places(document, ()):
        above, last = steps[:-1], steps[-1]
        field = _named(document, steps)
        old = _at(document, steps)
        if isinstance(last, str):
            yield Forgery(field, "removed", _changed(document, above, last, _REMOVED))
        for change, new in _others(field, old):
            yield Forgery(field, change, _changed(document, above, last, new))


_REMOVED = object()


def _places(value: Any, above: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for step, below in inside:
        # A list's items are reached by their fields, or changed as values where they have none.
        if isinstance(step, str) or not isinstance(below, (dict, list)):
            yield (*above, step)
        yield from _places(below, (*above, step))


def _named(document: Any, steps: tuple[Any, ...]) -> str:
    named = "".join("[]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
    if len(steps) > 1 and steps[0] == "tables":
        kind = document["tables"][steps[1]]["kind"]
        return named.replace("[]", "[partitioned]", 1) if kind == "partitioned" else named
    return named


def _at(document: Any, steps: tuple[Any, ...]) -> Any:
    for step in steps:
        document = document[step]
    return document


def _changed(document: Any, above: tuple[Any, ...], last: Any, new: Any) -> Any:
    other = copy.deepcopy(document)
    place = _at(other, above)
    if new is _REMOVED:
        del place[last]
    else:
        place[last] = new
    return other


def _others(field: str, old: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(old, bool):
        yield "negated", not old
    elif isinstance(old, (int, float)):
        yield "one more", old + 1
    elif old is None:
        yield "a text", "x"
        yield "a number", 1
    elif isinstance(old, str):
        yield "another text", _other_text(field, old)
    elif isinstance(old, list) and old:
        yield "cut", old[:-1]
        yield "doubled", [*old, *old]


def _other_text(field: str, old: str) -> str:
    others = _OTHERS.get(field.rpartition(".")[2], {})
    if old in others and not field.startswith("tables[].columns[].type"):
        return others[old]
    if _HEX.fullmatch(old):
        return old[:-1] + ("0" if old[-1] != "0" else "1")
    try:
        return (datetime.fromisoformat(old) + timedelta(seconds=1)).isoformat()
    except ValueError:
        return old + "x"
