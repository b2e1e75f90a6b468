"""The form of CSV files: names, lines, and values as PostgreSQL prints them."""

import random
import struct
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backup_pipelines.csv import form as csv_form
from backup_pipelines.csv.null import NULL
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.postgres.texts import as_text
from backup_pipelines_tests.exactness import connect

_NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
_VALUES = st.sampled_from([None, "\\N", '"\\N"', ',"\\N",', '\n"\\N"\r', "", '"', "a", '","'])

Generator = Callable[[random.Random], float]

# Where printers of floats differ: powers of two, whole numbers past the mantissa, few digits.
_FLOAT8S: tuple[Generator, ...] = (
    lambda dice: struct.unpack("d", dice.randbytes(8))[0],
    lambda dice: 2.0 ** dice.randint(-1074, 1023),
    lambda dice: float(dice.randint(2**53, 2 ** dice.randint(54, 80))),
    lambda dice: round(dice.uniform(-1e6, 1e6), dice.randint(0, 6)),
    lambda dice: float(f"{dice.randint(1, 99)}e{dice.randint(-300, 300)}"),
)
_FLOAT4S: tuple[Generator, ...] = (
    lambda dice: struct.unpack("f", dice.randbytes(4))[0],
    lambda dice: 2.0 ** dice.randint(-149, 127),
    lambda dice: float(dice.randint(2**24, 2 ** dice.randint(25, 60))),
    lambda dice: round(dice.uniform(-1e5, 1e5), dice.randint(0, 4)),
    lambda dice: float(f"{dice.randint(1, 99)}e{dice.randint(-40, 36)}"),
)


@given(st.lists(st.tuples(_NAMES, _NAMES), min_size=2, max_size=2, unique=True))
@example([("public", "auth.users"), ("auth", "users")])
@example([("a.b", "c"), ("a", "b.c")])
@example([("public", "%2E"), ("public", ".")])
def test_no_two_tables_share_a_file(tables: list[tuple[str, str]]) -> None:
    """And no name leads out of its folder, or is one of the hidden ones."""
    names = [csv_form.file_name(*table) for table in tables]
    assert len(set(names)) == 2
    for name in names:
        assert not set(name) & set('/\\:*?"<>|\0\n')
        assert not name.startswith(".")


@given(st.lists(st.lists(_VALUES, min_size=1, max_size=3), max_size=5))
def test_values_that_read_like_null_are_counted(rows: list[list[str | None]]) -> None:
    """Each of them, and nothing that only looks so within a text."""
    lines = b"".join(csv_form.line(row) for row in rows)
    assert csv_form.like_null(lines) == sum(value == NULL for row in rows for value in row)


def _check_floats(
    server: EmbeddedServer, kind: str, arrow: pa.DataType, values: list[float]
) -> None:
    with connect(server.url()) as connection:
        query = f"SELECT u::{kind}::text FROM unnest(%b::float8[]) WITH ORDINALITY AS x (u, n)"
        printed = [row[0] for row in connection.execute(f"{query} ORDER BY n".encode(), [values])]
    mine = as_text(pa.array(values, arrow)).to_pylist()
    assert [pair for pair in zip(printed, mine, strict=True) if pair[0] != pair[1]] == []


def _floats(generators: tuple[Generator, ...], seed: int, count: int) -> list[float]:
    dice = random.Random(seed)
    return [dice.choice(generators)(dice) for _ in range(count)]


@pytest.mark.parametrize("seed", [1])
def test_floats_are_printed_as_postgresql_prints_them(server: EmbeddedServer, seed: int) -> None:
    """A seeded sample of those that printers differ in, of both sizes."""
    _check_floats(server, "float8", pa.float64(), _floats(_FLOAT8S, seed, 20_000))
    _check_floats(server, "float4", pa.float32(), _floats(_FLOAT4S, seed, 20_000))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 102))
def test_many_floats_are_printed_as_postgresql_prints_them(
    server: EmbeddedServer, seed: int
) -> None:
    """Four million of them."""
    _check_floats(server, "float8", pa.float64(), _floats(_FLOAT8S, seed, 20_000))
    _check_floats(server, "float4", pa.float32(), _floats(_FLOAT4S, seed, 20_000))
