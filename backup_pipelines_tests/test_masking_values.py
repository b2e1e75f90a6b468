"""What masks make of values: always the same, never the value, and only with the key."""

import re
import uuid
from collections import Counter
from datetime import date
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_pipelines.csv import form as csv_form
from backup_pipelines.csv.printed import parsed
from backup_pipelines.errors import Failed
from backup_pipelines.masking.batches import MaskedRows, RowSum
from backup_pipelines.masking.fakes import SHORTEST, SHORTEST_MARKED, Wanted
from backup_pipelines.masking.keyed import Permutation, siphash
from backup_pipelines.masking.uniques import uniques
from backup_pipelines.masking.values import INTEGER_BITS, ColumnMask, Masker
from backup_pipelines.settings_masking import KINDS

KEY, OTHER = b"the key of the tests", b"another key of theirs"

# PostgreSQL's texts: no zero byte, no half of a character.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=80)


@cache
def masker(key: bytes) -> Masker:
    """One for each key: the tables of its permutations take a while."""
    return Masker(key)


def hashed(family: str, *values: str | None, key: bytes = KEY) -> list[str | None]:
    """The hashes of values of a type."""
    mask = ColumnMask("hash", Wanted("", family))
    return masker(key).masked(pa.array(values, pa.string()), mask).to_pylist()


def fake(wanted: Wanted, *values: str | None, key: bytes = KEY) -> list[str | None]:
    """The fakes of values."""
    return masker(key).masked(pa.array(values, pa.string()), ColumnMask("fake", wanted)).to_pylist()


@cache
def permutation(bits: int) -> Permutation:
    """One for each size."""
    return Permutation(KEY, bits)


@pytest.mark.parametrize("bits", [2, 3, 7, 8, 15, 16])
def test_a_permutation_meets_every_number_once(bits: int) -> None:
    """Over the whole range none is missing, none comes twice, and none is at its place."""
    numbers = np.arange(1 << bits, dtype=np.uint64)
    moved = Permutation(KEY, bits)(numbers)
    assert np.array_equal(np.sort(moved), numbers)
    assert not np.any(moved == numbers)


def test_siphash() -> None:
    """The vector of its authors for eight bytes, alone and among others."""
    key, word = bytes(range(16)), int.from_bytes(bytes(range(8)), "little")
    assert siphash(key, np.array([word], np.uint64)).tolist() == [0x93F5F5799A932462]
    assert siphash(key, np.array([1, word, 2], np.uint64))[1] == 0x93F5F5799A932462


@settings(deadline=None)
@given(
    st.sampled_from([31, 63]),
    st.sets(st.integers(0, 2**63 - 1), min_size=1, max_size=50),
)
def test_large_permutations_are_one_to_one(bits: int, drawn: set[int]) -> None:
    """Different numbers go to different places within the range, each number away from its own."""
    found = sorted({number % (1 << bits) for number in drawn})
    moved = permutation(bits)(np.array(found, np.uint64)).tolist()
    assert len(set(moved)) == len(found)
    assert all(0 <= to < 1 << bits and to != at for at, to in zip(found, moved, strict=True))


@settings(deadline=None)
@given(st.sampled_from(sorted(INTEGER_BITS)), st.data())
def test_whole_numbers_stay_in_their_type_with_their_sign(family: str, data: Any) -> None:
    """The type's first and last number too; the same number goes to the same one in any batch."""
    limit = 1 << INTEGER_BITS[family]
    ends = [0, -1, limit - 1, -limit]
    drawn = data.draw(st.lists(st.integers(-limit, limit - 1), max_size=20))
    numbers = [*ends, *drawn]
    made = [int(text or "") for text in hashed(family, *map(str, numbers))]
    assert all(-limit <= to < limit for to in made)
    assert all((to < 0) == (at < 0) and to != at for at, to in zip(numbers, made, strict=True))
    assert len(set(made)) == len(set(numbers))
    assert [int(text or "") for text in hashed(family, *map(str, reversed(numbers)))] == made[::-1]


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), TEXTS), max_size=20))
def test_hashes_of_texts(values: list[str | None]) -> None:
    """NULL stays NULL, the same text has the same hash, others have others, by key."""
    made = hashed("text", *values)
    assert [one is None for one in made] == [one is None for one in values]
    pairs = {(v, m) for v, m in zip(values, made, strict=True)}
    assert len(pairs) == len({v for v, _ in pairs}) == len({m for _, m in pairs})
    assert made == hashed("text", *values)
    others = hashed("text", *values, key=OTHER)
    assert not {m for m in made if m} & {m for m in others if m}


def test_a_uuid_becomes_one() -> None:
    """A valid one of the same form, another with another key."""
    value = "0b8d7c9e-5c1a-4c0e-9a51-3f6f1a2b3c4d"
    [made] = hashed("uuid", value)
    assert made is not None and uuid.UUID(made).version == 4
    assert str(uuid.UUID(made)) == made != value
    assert hashed("uuid", value, key=OTHER) != [made]


def test_what_a_type_takes_for_equal_has_one_hash() -> None:
    """Blanks at the end of character(n), the case of citext."""
    assert hashed("bpchar", "ab") == hashed("bpchar", "ab   ") == hashed("text", "ab")
    assert hashed("citext", "Ab") == hashed("citext", "aB")
    assert hashed("text", "Ab") != hashed("text", "aB")


@settings(deadline=None)
@given(st.sampled_from(sorted(set(KINDS) - {"number", "date", "ip", "empty"})), TEXTS, st.data())
def test_fakes_of_texts(kind: str, value: str, data: Any) -> None:
    """Never the value, always the same, as long as the column takes, another with another key
    where the kind has enough of them."""
    marked = data.draw(st.booleans()) and kind in SHORTEST_MARKED
    least = SHORTEST_MARKED[kind] if marked else SHORTEST.get(kind, 10)
    room = data.draw(st.one_of(st.none(), st.integers(least, 60)))
    wanted = Wanted(kind, "text", room, marked)
    [made] = fake(wanted, value)
    assert made and made.casefold() != value.casefold()
    assert room is None or len(made) <= room
    assert fake(wanted, None, value, value) == [None, made, made]
    if kind in SHORTEST or marked:
        assert fake(wanted, value, key=OTHER) != [made]


@pytest.mark.parametrize("kind", sorted({*SHORTEST, *SHORTEST_MARKED}))
def test_fakes_that_no_two_rows_may_share(kind: str) -> None:
    """Of thousands of values no two have the same, also where there is little room."""
    room = {**SHORTEST, **SHORTEST_MARKED}[kind]
    values = [f"value {number}" for number in range(3000)]
    made = fake(Wanted(kind, "text", room, marked=kind in SHORTEST_MARKED), *values)
    assert len({text.lower() for text in made if text}) == len(values)
    assert all(text and len(text) <= room for text in made)


@settings(deadline=None)
@given(st.sampled_from(sorted(INTEGER_BITS)), st.data())
def test_fake_whole_numbers(family: str, data: Any) -> None:
    """As many digits, the same sign, within the type, as PostgreSQL prints them."""
    limit = 1 << INTEGER_BITS[family]
    number = data.draw(st.one_of(st.integers(-limit, limit - 1), st.sampled_from([0, limit - 1])))
    [made] = fake(Wanted("number", family), str(number))
    assert made is not None and str(int(made)) == made != str(number)
    assert -limit <= int(made) < limit
    assert len(made.lstrip("-")) == len(str(number).lstrip("-"))


@pytest.mark.parametrize(
    ("family", "value", "digits"),
    [
        ("numeric", "12.50", r"[1-9]\d\.\d\d"),
        ("numeric", "0.125", r"0\.\d{3}"),
        ("numeric", "0.0081", r"0\.00\d\d"),
        ("numeric", "0.00", r"0\.0[1-9]"),
        ("numeric", "-100", r"-[1-9]\d\d"),
        ("float8", "1.5e+300", r"\d(\.\d)?e\+299"),
        ("float4", "3.4028235e+38", r"\d(\.\d+)?e\+37"),
        ("float4", "0.1", r"0(\.\d)?"),
    ],
)
def test_fake_fractions(family: str, value: str, digits: str) -> None:
    """As many digits before and behind the point; like NULL, what is no number stays."""
    [made, *others] = fake(Wanted("number", family), value, None, "NaN", "Infinity")
    assert others == [None, "NaN", "Infinity"]
    assert re.fullmatch(digits, made or "") and made != value


@pytest.mark.parametrize(
    ("family", "value", "like"),
    [
        ("date", "1984-02-29", r"1984-\d\d-\d\d"),
        ("date", "infinity", r"2000-\d\d-\d\d"),
        ("date", "0044-03-15 BC", r"2000-\d\d-\d\d"),
        ("timestamp", "2026-01-31 12:30:00.25", r"2026-\d\d-\d\d \d\d:\d\d:\d\d"),
        ("timestamp", "2026-01-31 00:00:00", r"2026-\d\d-\d\d 00:00:00"),
        ("timestamptz", "2026-01-31 12:30:00+00", r"2026-\d\d-\d\d \d\d:\d\d:\d\d\+00"),
    ],
)
def test_fake_dates(family: str, value: str, like: str) -> None:
    """Another day of the same year; a midnight stays one; without a plain year it is 2000."""
    [made] = fake(Wanted("date", family), value)
    assert re.fullmatch(like, made or "") and made != value
    date.fromisoformat((made or "")[:10])


@pytest.mark.parametrize(
    ("family", "empty"),
    [("text", ""), ("jsonb", "{}"), ("bytea", "\\x"), ("[]", "{}")],
)
def test_what_is_empty(family: str, empty: str) -> None:
    """An empty value of the type; NULL stays NULL."""
    assert fake(Wanted("empty", family), "something", None) == [empty, None]


def test_addresses_fill_a_character_column_as_its_values_do() -> None:
    """They are read back with their blanks."""
    [made] = fake(Wanted("ip", "bpchar", 20), "somewhere")
    assert made is not None and len(made) == 20 and made.startswith("10.")


def test_a_fake_that_cannot_differ_is_an_error() -> None:
    """A column without room for another value is not left as it is."""
    with pytest.raises(Failed, match="choose null or hash"):
        fake(Wanted("text", "text", 0), "x")


def test_a_mask_that_leaves_a_value_is_an_error() -> None:
    """Whatever the mask promises, each batch is looked at: no masked value may be as before."""

    class Lazy(Masker):
        def masked(self, values: pa.Array, mask: ColumnMask) -> pa.Array:
            return values

    rows = MaskedRows("public.t", Lazy(KEY), {"a": ColumnMask("hash", Wanted("", "text"))})
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["x", None, "y"]), pa.array([1, 2, 3])], ["a", "b"]
    )
    with pytest.raises(Failed, match=r"2 values of public\.t\.a are the same behind the mask"):
        rows.masked(batch)


ROWS = st.lists(st.tuples(*[st.one_of(st.none(), TEXTS, st.just("\\N"))] * 2), min_size=1)


@settings(deadline=None)
@given(ROWS)
def test_lines_are_read_back_exactly(rows: list[tuple[str | None, str | None]]) -> None:
    """Quotes, line ends and NULL's likes included."""
    columns = [pa.array([row[number] for row in rows], pa.string()) for number in (0, 1)]
    batch = pa.RecordBatch.from_arrays(columns, ["a", 'b "c"'])
    assert parsed(csv_form.rows(batch), batch.schema.names).equals(batch)


@settings(deadline=None)
@given(ROWS, ROWS)
def test_sums_of_rows_tell_tables_apart(
    rows: list[tuple[str | None, str | None]], others: list[tuple[str | None, str | None]]
) -> None:
    """Equal for the same rows in any order and any batches, different for any others."""

    def sum_of(*batches: list[tuple[str | None, str | None]]) -> RowSum:
        found = RowSum()
        for batch in batches:
            columns = [pa.array([row[number] for row in batch], pa.string()) for number in (0, 1)]
            found.add(pa.RecordBatch.from_arrays(columns, ["a", "b"]))
        return found

    assert sum_of(rows[::-1]) == sum_of(rows[:1], rows[1:])
    same = Counter(rows) == Counter(others)
    assert (sum_of(rows) == sum_of(others)) == same


@pytest.mark.parametrize(
    ("definition", "table", "has", "lacks"),
    [
        ("ALTER TABLE ONLY public.users\n    ADD CONSTRAINT id UNIQUE (a, \"B c\");",
         "public.users", {"a", "B c"}, {"id", "users", "UNIQUE"}),
        ("ALTER TABLE ONLY s.t ADD CONSTRAINT p PRIMARY KEY (id) INCLUDE (note);",
         "s.t", {"id"}, {"p", "KEY", "t"}),
        ("CREATE UNIQUE INDEX i ON ONLY p.t USING btree (lower((mail)::text)) WHERE (n > 'x')",
         "p.t", {"mail", "n"}, {"i", "t", "x", "btree"}),
        ('CREATE UNIQUE INDEX "ON" ON public."a""b" USING btree (c)', 'public.a"b', {"c"}, {"ON"}),
        ("ALTER TABLE ONLY p.h ADD CONSTRAINT c EXCLUDE USING gist (d WITH =) WHERE (l IS NULL);",
         "p.h", {"d", "l"}, {"c", "gist", "IS"}),
    ],
)  # fmt: skip
def test_columns_of_unique_definitions(
    definition: str, table: str, has: set[str], lacks: set[str]
) -> None:
    """Those within expressions and conditions too; neither the names around nor what is quoted."""
    found = uniques([definition])
    assert list(found) == [table]
    assert found[table] >= has and not found[table] & lacks
