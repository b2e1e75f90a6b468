"""Object keys and backup ids: unique, sortable, and safe wherever they are used."""

import re
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_pipelines import layout
from backup_pipelines.backup_id import BackupId, BackupType
from backup_pipelines.errors import Refused

_TYPES = st.sampled_from(["manual", "scheduled", "module", "safety"])
_TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.timezones())
# What PostgreSQL takes as an identifier: anything but NUL, at most 63 bytes.
_IDENTIFIERS = st.one_of(
    st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=63
    ),
    st.text("aA_-.é", min_size=1, max_size=4),
)


@given(times=st.lists(_TIMES, min_size=2, max_size=5), kinds=st.lists(_TYPES, min_size=5))
def test_ids_sort_by_time(times: list[datetime], kinds: list[BackupType]) -> None:
    """Ids sort as their seconds do, in whatever zone the time was given."""
    ids = [BackupId.new(kind, time) for kind, time in zip(kinds, times, strict=False)]
    ordered = sorted(ids)
    assert [i.started_at for i in ordered] == sorted(i.started_at for i in ids)
    for time, one in zip(times, ids, strict=False):
        assert one.started_at == time.astimezone(UTC).replace(microsecond=0)
        assert BackupId.parse(str(one)) == one
        assert BackupId.is_valid(str(one))


def test_ids_of_one_second_sort_by_their_start() -> None:
    """Backups of one second are in the order in which they started, and no id is made twice."""
    begun = datetime(2026, 1, 15, 2, tzinfo=UTC)
    ids = [BackupId.new("manual", begun + timedelta(milliseconds=4 * n)) for n in range(250)]
    assert ids == sorted(set(ids))
    assert len({BackupId.new("manual", begun) for _ in range(3)}) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "20260115T020000Z-manual-9f3c1",
        "20260115T020000Z-manual-9f3c1a\n",
        "20260115T020000Z-manual-9F3C1A",
        "20260115T020000Z-other-9f3c1a",
        "20260115T020000-manual-9f3c1a",
        "../20260115T020000Z-manual-9f3c1a",
        "20260115T020000Z-manual-9f3c1a/..",
    ],
)
def test_what_is_no_id(text: str) -> None:
    """Anything else is refused with an example of an id."""
    assert not BackupId.is_valid(text)
    with pytest.raises(Refused, match="it looks like 20260115T020000Z-manual-9f3c1a"):
        BackupId.parse(text)


@given(text=st.text(max_size=40))
def test_no_other_text_is_an_id(text: str) -> None:
    """An id holds no character that a key, a URL or a file name would mind."""
    if BackupId.is_valid(text):
        assert re.fullmatch(r"[0-9TZa-z-]+", text, re.ASCII)


@given(
    places=st.sets(
        st.tuples(_IDENTIFIERS, _IDENTIFIERS, st.integers(0, 3), st.integers(0, 2)),
        min_size=2,
        max_size=20,
    )
)
def test_part_keys_are_unique(places: set[tuple[str, str, int, int]]) -> None:
    """Tables never share a key, however alike their names; not on disks without case either."""
    keys = [layout.part_key("s", "id", *place) for place in places]
    assert len({key.casefold() for key in keys}) == len(places)
    for key in keys:
        assert re.fullmatch(r"s/backups/id/data/[a-z0-9_.-]+/part-\d{5}(-\d{3})?\.parquet", key)
        assert len(key.split("/")[4]) <= 165
        assert key.startswith(layout.backup_prefix("s", "id"))


@given(one=st.tuples(_IDENTIFIERS, _IDENTIFIERS), other=st.tuples(_IDENTIFIERS, _IDENTIFIERS))
def test_folders_of_different_tables_differ(one: tuple[str, str], other: tuple[str, str]) -> None:
    """`a.b`.`c` and `a`.`b.c` are different tables in different folders."""
    keys = {layout.part_key("s", "id", *one, 0), layout.part_key("s", "id", *other, 0)}
    assert len(keys) == len({one, other})


def test_every_key_is_in_its_system() -> None:
    """All of a system's objects lie under its own folder."""
    at = (datetime(2026, 1, 15, tzinfo=UTC) + timedelta(hours=2)).strftime("%Y%m%dT%H%M%SZ")
    for key in (
        layout.backups_prefix("crm"),
        layout.manifest_key("crm", "id"),
        layout.started_key("crm", "id"),
        layout.schema_key("crm", "id", "pre-data"),
        layout.drills_prefix("crm"),
        layout.drill_key("crm", "id", at),
    ):
        assert key.startswith(layout.system_prefix("crm"))


@given(
    schema=_IDENTIFIERS,
    table=_IDENTIFIERS,
    number=st.integers(0, 99999),
    kind=_TYPES,
    format=st.sampled_from(get_args(layout.Format)),
    encrypted=st.booleans(),
    attempt=st.sampled_from(["", "00000000", "1f2e3d4c"]),
)
def test_what_is_a_section_or_a_part(
    schema: str,
    table: str,
    number: int,
    kind: BackupType,
    format: layout.Format,
    encrypted: bool,
    attempt: str,
) -> None:
    """Every key that is made for content is known as such, for its own system only."""
    backup_id = str(BackupId.new(kind, datetime.now(UTC)))
    part = layout.part_key(
        "crm",
        backup_id,
        schema,
        table,
        number,
        number % 3,
        format=format,
        encrypted=encrypted,
        attempt=attempt,
    )
    assert layout.attempt_of(part) == attempt
    assert layout.format_of(part) == format
    assert layout.is_encrypted(part) == encrypted
    for key in (part, layout.schema_key("crm", backup_id, "pre-data")):
        assert layout.is_content_key("crm", key)
        assert not layout.is_content_key("dcim", key)
    for key in (
        layout.manifest_key("crm", backup_id),
        layout.started_key("crm", backup_id),
        part.replace("/data/", "/data/../"),
        part + "\n",
    ):
        assert not layout.is_content_key("crm", key)
