"""Modules: every table in exactly one entry, selections and what they amount to."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backup_pipelines.errors import NotFound
from backup_pipelines.modules import Entry, assign, entries, scope_of, select_modules
from backup_pipelines.system import OTHER, ExcludedSpec, ModuleSpec, System, is_pattern, qualify

_NAMES = st.text("ab_[]", min_size=1, max_size=3)
_TABLES = st.tuples(st.sampled_from(["public", "s"]), _NAMES).map(".".join)
_SPECS = st.one_of(
    _NAMES, _TABLES, st.text("ab_*?[].", min_size=1, max_size=4), st.just("*"), st.just("s.*")
)


@st.composite
def systems(draw: st.DrawFn) -> System:
    """A valid system: no table or pattern is in it twice."""
    modules = draw(
        st.dictionaries(
            st.sampled_from(["one", "two", "three"]), st.lists(_SPECS, min_size=1, max_size=4)
        )
    )
    excluded = draw(st.lists(_SPECS, max_size=3))
    written = [qualify(spec) for specs in (*modules.values(), excluded) for spec in specs]
    assume(len(set(written)) == len(written))
    return System(
        system="s",
        database_url_env="X",
        modules={name: ModuleSpec(tables=specs) for name, specs in modules.items()},
        excluded=[ExcludedSpec(table=spec, reason=f"not {spec}") for spec in excluded],
    )


@given(system=systems(), tables=st.sets(_TABLES, max_size=12))
def test_every_table_is_in_exactly_one_place(system: System, tables: set[str]) -> None:
    """A table is in one entry, or left out with a reason; none is in two, lost or made up."""
    found = assign(system, tables)
    placed = [table for names in found.tables.values() for table in names]
    placed += [excluded.name for excluded in found.excluded]
    assert sorted(placed) == sorted(tables)
    assert tuple(found.tables) == entries(system)
    assert set(found.entry_of()) | {e.name for e in found.excluded} == tables
    named = {e.name: e for e in found.tables if e.kind == "table"}
    assert {e.name for e in found.missing} == set(named) - tables
    for table in tables & set(named):
        assert found.entry_of()[table] == named[table]
    for table in found.tables[Entry(OTHER, "other", OTHER)]:
        written = [t for spec in system.modules.values() for t in spec.tables]
        written += [spec.table for spec in system.excluded]
        assert table not in map(qualify, written)
        assert not any(fnmatchcase(table, qualify(t)) for t in written if is_pattern(t))


@given(system=systems(), tables=st.sets(_TABLES, max_size=12))
def test_the_order_of_tables_does_not_matter(system: System, tables: set[str]) -> None:
    """The assignment follows from names alone."""
    assert assign(system, sorted(tables)) == assign(system, sorted(tables, reverse=True))


@given(system=systems())
def test_scopes(system: System) -> None:
    """Everything is full, whole modules are modules, any other selection is tables."""
    known = entries(system)
    names = list(dict.fromkeys(entry.module for entry in known))
    assert scope_of(system, frozenset(known)) == ("full", tuple(names))
    for name in names:
        chosen = select_modules(system, [name])
        expected = "full" if len(names) == 1 else "modules"
        assert scope_of(system, chosen) == (expected, (name,))
        if len(chosen) > 1:
            assert scope_of(system, frozenset(list(chosen)[1:])) == ("tables", (name,))


def test_precedence() -> None:
    """Names win over patterns, exclusions by name too, and patterns count in the YAML's order."""
    system = System(
        system="crm",
        database_url_env="X",
        modules={
            "sales": ModuleSpec(tables=["deals", "order*"]),
            "rest": ModuleSpec(tables=["*"]),
        },
        excluded=[
            ExcludedSpec(table="order_logs", reason="too big"),
            ExcludedSpec(table="audit.*", reason="kept elsewhere"),
        ],
    )
    found = assign(
        system,
        ["public.deals", "public.orders", "public.order_logs", "public.x", "audit.a", "own.t"],
    )
    assert {(e.module, e.kind): tables for e, tables in found.tables.items()} == {
        ("sales", "table"): ("public.deals",),
        ("sales", "patterns"): ("public.orders",),
        ("rest", "patterns"): ("public.x",),
        ("other", "other"): ("own.t",),
    }
    assert [(e.name, e.reason) for e in found.excluded] == [
        ("audit.a", "kept elsewhere"),
        ("public.order_logs", "too big"),
    ]


def test_unknown_modules() -> None:
    """A module that the system does not have is refused with those that it has."""
    system = System(
        system="crm", database_url_env="X", modules={"sales": ModuleSpec(tables=["deals"])}
    )
    with pytest.raises(NotFound, match="no module a, b; its modules are sales, other"):
        select_modules(system, ["b", "sales", "a"])
