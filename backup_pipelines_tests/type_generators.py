"""Values of the main types by hypothesis, over the whole range that PostgreSQL has for each."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from psycopg import sql

from backup_pipelines_tests.type_matrix import Sql

# From 2000-01-01, the day 0 of PostgreSQL: 4713-11-24 BC, and the last of date and of timestamp.
_FIRST_DAY, _LAST_DATE, _LAST_TIMESTAMP = -2_451_545, 2_145_031_948, 106_751_982
_NEAR_DAYS = st.integers(-730_119, 2_921_939)
_DAY_US = 86_400_000_000


def generated(values: SearchStrategy[str], count: int) -> tuple[str, ...]:
    """Up to `count` values as hypothesis would try them, for one round trip to a database."""
    found: list[str] = []

    @settings(
        max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(values)
    def collect(value: str) -> None:
        found.append(value)

    collect()
    return tuple(found)


def _literal(value: object) -> str:
    return sql.Literal(value).as_string()


def _days(last: int) -> SearchStrategy[int]:
    return st.one_of(_NEAR_DAYS, st.integers(_FIRST_DAY, last))


def _array(elements: SearchStrategy[str], kind: str) -> SearchStrategy[str]:
    return st.lists(st.none() | elements, max_size=8).map(
        lambda values: Sql(f"ARRAY[{', '.join(map(_literal, values))}]::{kind}[]")
    )


def _range(bounds: SearchStrategy[str], kind: str, of: str) -> SearchStrategy[str]:
    def made(pair: tuple[str | None, str | None], ends: str) -> str:
        low, high = (f"{_literal(str(x))}::{of}" if x is not None else "NULL" for x in pair)
        if None not in pair:
            low, high = f"least({low}, {high})", f"greatest({low}, {high})"
        return Sql(f"{kind}({low}, {high}, '{ends}')")

    return st.builds(
        made,
        st.tuples(st.none() | bounds, st.none() | bounds),
        st.sampled_from(["[]", "[)", "(]", "()"]),
    )


def _json(texts: SearchStrategy[str]) -> SearchStrategy[str]:
    numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    values = st.recursive(
        st.none() | st.booleans() | numbers | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=8,
    )
    return st.builds(
        lambda value, indent, ascii_only: json.dumps(value, indent=indent, ensure_ascii=ascii_only),
        values,
        st.sampled_from([None, 0, 3]),
        st.booleans(),
    )


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
_AWKWARD_TEXT = st.text(st.sampled_from("\\\"',;.\n\r\t\bN{}()[] a=>$%é\u2028"), max_size=12)
_TEXTS = _TEXT | _AWKWARD_TEXT
_FLOAT8 = st.floats().map(repr)
_FLOAT4 = st.floats(width=32).map(repr)
_INT8 = st.integers(-(2**63), 2**63 - 1).map(str)
_NUMERIC = st.one_of(
    st.from_regex(r"-?[0-9]{1,40}(\.[0-9]{1,40})?(e-?[0-9]{1,2})?", fullmatch=True),
    st.sampled_from(["NaN", "Infinity", "-Infinity"]),
)
_TIMESTAMP = st.builds(
    lambda day, us: Sql(f"('2000-01-01'::date + {day})::timestamp + '{us} microseconds'::interval"),
    _days(_LAST_TIMESTAMP),
    st.integers(0, _DAY_US - 1),
)
_STAMP_TEXT = st.datetimes().map(str)

GENERATED: dict[str, SearchStrategy[str]] = {
    "text": _TEXTS,
    "varchar(12)": st.one_of(_TEXT, _AWKWARD_TEXT).map(lambda text: text[:12]),
    "char(12)": _TEXTS.map(lambda text: text[:12]),
    "bytea": st.binary(max_size=80).map(lambda data: "\\x" + data.hex()),
    "int8": _INT8,
    "numeric": _NUMERIC,
    "numeric(15,4)": st.decimals(-99999999999, 99999999999, places=4).map(str),
    "float8": _FLOAT8,
    "float4": _FLOAT4,
    "date": _days(_LAST_DATE).map(lambda day: Sql(f"'2000-01-01'::date + {day}")),
    "time": st.integers(0, _DAY_US).map(lambda us: Sql(f"'00:00'::time + '{us} us'::interval")),
    "timestamp": _TIMESTAMP,
    "timestamptz": _TIMESTAMP.map(lambda value: Sql(f"({value}) AT TIME ZONE 'UTC'")),
    "timestamp(3)": _STAMP_TEXT,
    "interval": st.builds(
        lambda months, days, us: f"{months} months {days} days {us} microseconds",
        st.integers(-(2**31), 2**31 - 1),
        st.integers(-(2**31), 2**31 - 1),
        st.integers(-(10**15), 10**15),
    ),
    "json": _json(_TEXTS),
    "jsonb": _json(_TEXTS),
    "uuid": st.uuids().map(str),
    "text[]": _array(_TEXTS, "text"),
    "float8[]": _array(_FLOAT8, "float8"),
    "timestamp[]": _array(_STAMP_TEXT, "timestamp"),
    "numeric[]": _array(_NUMERIC, "numeric"),
    "bytea[]": _array(st.binary(max_size=9).map(lambda data: "\\x" + data.hex()), "bytea"),
    "int8range": _range(st.integers(-(2**63), 2**63 - 2).map(str), "int8range", "int8"),
    "numrange": _range(_NUMERIC, "numrange", "numeric"),
    "tsrange": _range(_STAMP_TEXT, "tsrange", "timestamp"),
}
