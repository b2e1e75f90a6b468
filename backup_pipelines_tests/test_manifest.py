"""The manifest: what it says survives writing and reading, and what no reader may accept."""

import json
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_pipelines import manifest
from backup_pipelines.errors import Damaged, NewerFormat
from backup_pipelines.manifest import FORMAT_VERSION, Manifest, Table

_NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
_COUNTS = st.integers(0, 2**63 - 1)
_HEX = st.integers(0, 2**64 - 1).map(lambda number: f"{number:016x}")

_TABLES = st.builds(
    Table,
    schema=_NAMES,
    name=_NAMES,
    module=st.just("m"),
    columns=st.just(()),
    rows=_COUNTS,
    digest=_HEX,
    size_bytes=_COUNTS,
    source_bytes=_COUNTS,
    seconds=st.floats(0, 1e6),
    partition_of=st.none() | _NAMES,
    parts=st.lists(
        st.builds(
            manifest.Part, key=_NAMES, rows=_COUNTS, size_bytes=_COUNTS, sha256=_HEX, digest=_HEX
        ),
        max_size=2,
    ).map(tuple),
)

MANIFESTS = st.builds(
    Manifest,
    tool_version=st.just("1"),
    id=st.just("20260115T020000Z-manual-9f3c1a"),
    system=st.just("crm"),
    type=st.sampled_from(["manual", "scheduled", "module", "safety"]),
    scope=st.sampled_from(["full", "modules", "tables"]),
    modules=st.lists(st.sampled_from(["a", "b"])).map(tuple),
    created_by=_NAMES,
    started_at=st.datetimes(timezones=st.just(UTC)),
    snapshot_at=st.datetimes(timezones=st.just(UTC)),
    created_at=st.datetimes(timezones=st.just(UTC)),
    server_version=st.just(180006),
    database=_NAMES,
    tables=st.lists(_TABLES, max_size=3).map(tuple),
    foreign_keys=st.just(()),
    sequences=st.lists(
        st.builds(
            manifest.Sequence,
            schema=_NAMES,
            name=_NAMES,
            last_value=st.integers(-(2**63), 2**63 - 1),
            is_called=st.booleans(),
        ),
        max_size=2,
    ).map(tuple),
    materialized_views=st.just(()),
    ddl=st.just(()),
    roles=st.lists(_NAMES, max_size=2).map(tuple),
)


@given(entry=MANIFESTS)
def test_a_manifest_is_read_as_it_was_written(entry: Manifest) -> None:
    """Every field survives, 64-bit numbers and odd names included; the JSON is plain JSON."""
    data = entry.to_json()
    assert manifest.parse(data, "k") == entry
    assert json.loads(data)["format_version"] == 1


@given(entry=MANIFESTS)
def test_totals(entry: Manifest) -> None:
    """A catalog row's numbers are sums over the tables; a partition is no table of its own."""
    assert entry.records_count == sum(table.rows for table in entry.tables)
    assert entry.tables_count == len([t for t in entry.tables if t.partition_of is None])
    assert entry.size_bytes == sum(table.size_bytes for table in entry.tables)
    assert bool(entry.module) == (entry.scope != "full" and bool(entry.modules))


@given(version=st.integers(FORMAT_VERSION + 1, 10**9), rest=st.dictionaries(_NAMES, _NAMES))
def test_newer_formats(version: int, rest: dict[str, str]) -> None:
    """A newer format is refused as newer, whatever else is in it."""
    data = json.dumps(rest | {"format_version": version}).encode()
    with pytest.raises(NewerFormat, match=f"k has format version {version}.*upgrade"):
        manifest.parse(data, "k")


@given(data=st.binary() | st.text().map(str.encode) | st.just(b"[]") | st.just(b'{"id": 1}'))
def test_anything_else_is_damage(data: bytes) -> None:
    """Bytes that are no manifest are damage that names the object, never another error."""
    with pytest.raises(Damaged, match="k is not a valid manifest"):
        manifest.parse(data, "k")
