"""Proposals: every table once, valid names, the same in any order, modules as people make them."""

import random
import re
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_pipelines.onboarding.candidates import exclusion_candidates
from backup_pipelines.onboarding.proposals import propose_modules
from backup_pipelines.onboarding.table_facts import Reference, TableFacts, unwritable
from backup_pipelines.system import ModuleSpec, System, qualify

_WORDS = ["user", "users", "order", "orders", "item", "log", "auth", "Stage", "other", "catalog"]
_WORDY = st.lists(st.sampled_from(_WORDS), min_size=1, max_size=3).map("_".join)
# PostgreSQL allows everything but NUL; surrogates are no text at all.
_STRANGE = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12
)
_NAMES = st.one_of(_WORDY, _STRANGE)
_SCHEMAS = st.one_of(st.just("public"), st.sampled_from(["auth", "sales", "Ünï côdé"]), _STRANGE)
_TABLES = st.lists(
    st.builds(TableFacts, _SCHEMAS, _NAMES, st.integers(0, 10**12)),
    max_size=60,
    unique_by=lambda table: (table.schema, table.name),
)


@st.composite
def _databases(draw: st.DrawFn) -> tuple[list[TableFacts], list[Reference]]:
    tables = draw(_TABLES)
    if not tables:
        return tables, []
    names = st.sampled_from([table.qualified for table in tables])
    columns = st.sampled_from([(), ("id",), ("owner_id",), ("created_by",)])
    keys = st.builds(Reference, names, names, columns, st.booleans())
    return tables, draw(st.lists(keys, max_size=60))


@settings(deadline=None)
@given(_databases())
def test_every_table_is_in_exactly_one_module(
    database: tuple[list[TableFacts], list[Reference]],
) -> None:
    """Every table is in exactly one module, and no module is empty."""
    tables, references = database
    proposed = propose_modules(tables, references)
    assert sorted(t for own in proposed.values() for t in own) == sorted(tables)
    assert all(proposed.values())


@settings(deadline=None)
@given(_databases())
def test_a_system_accepts_what_is_proposed(
    database: tuple[list[TableFacts], list[Reference]],
) -> None:
    """Whatever the names, a system accepts the modules of all tables that can be written."""
    tables, references = database
    named = [table for table in tables if table not in unwritable(tables)]
    system = System(
        system="any",
        database_url_env="ANY",
        modules={
            module: ModuleSpec(tables=[table.written for table in own])
            for module, own in propose_modules(named, references).items()
        },
    )
    written = [qualify(t) for spec in system.modules.values() for t in spec.tables]
    assert sorted(written) == sorted(table.qualified for table in named)


@settings(deadline=None)
@given(_databases(), st.randoms(use_true_random=False))
def test_order_changes_nothing(
    database: tuple[list[TableFacts], list[Reference]], order: random.Random
) -> None:
    """The same database gives the same proposal, in the same order, however it is listed."""
    tables, references = database
    shuffled = order.sample(tables, len(tables)), order.sample(references, len(references))
    assert list(propose_modules(tables, references).items()) == list(
        propose_modules(*shuffled).items()
    )
    assert list(exclusion_candidates(tables, references).items()) == list(
        exclusion_candidates(*shuffled).items()
    )


@settings(deadline=None)
@given(
    st.lists(_WORDY, min_size=10, max_size=60, unique=True).map(
        lambda names: [TableFacts("public", name) for name in names]
    ),
    st.data(),
)
def test_few_modules_for_a_usual_database(tables: list[TableFacts], data: st.DataObject) -> None:
    """Ten to sixty tables of one schema make at most twelve modules."""
    names = st.sampled_from([table.qualified for table in tables])
    references = data.draw(st.lists(st.builds(Reference, names, names), max_size=80))
    assert len(propose_modules(tables, references)) <= 12


def test_no_candidate_is_needed_by_another_table() -> None:
    """A table that another one refers to is no candidate, unless that is one as well."""
    tables = _tables("sessions", "session_claims", "api_tokens", "refresh_tokens", "old_tokens")
    keys = _keys("session_claims > sessions", "refresh_tokens > api_tokens")
    found = exclusion_candidates(tables, keys)
    assert [table.name for table in found] == ["api_tokens", "old_tokens", "refresh_tokens"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sessions", "sessions"),
        ("django_session", "sessions"),
        ("refresh_tokens", "tokens"),
        ("passwordResets", "tokens"),
        ("cache", "cache"),
        ("cached_pages", "cache"),
        ("failed_jobs", "queue"),
        ("solid_queue_processes", "queue"),
        ("schema_migrations", "migration"),
        ("__EFMigrationsHistory", "migration"),
        ("alembic_version", "migration"),
        ("tmp_import", "temporary"),
    ],
)
def test_tables_that_are_often_left_out(name: str, reason: str) -> None:
    """Sessions, tokens, caches, queues, migrations and copies are candidates, with a reason."""
    assert reason in next(iter(exclusion_candidates(_tables(name), []).values()))


@pytest.mark.parametrize("name", ["customers", "session_notes", "job_titles", "tokenizers", "дом"])
def test_tables_that_are_not_often_left_out(name: str) -> None:
    """A table that merely has such a word in its name is no candidate."""
    assert not exclusion_candidates(_tables(name), [])


def test_names_that_the_yaml_cannot_hold() -> None:
    """Pattern characters, dots in schemas and names that read the same make a table unwritable."""
    tables = [
        TableFacts("public", "a*"),
        TableFacts("what?", "b"),
        TableFacts("x.y", "z"),
        TableFacts("v", "w.x"),
        TableFacts("public", "a.b"),
    ]
    assert [table.name for table in unwritable(tables)] == ["a*", "b", "z"]
    both = [TableFacts("x.y", "z"), TableFacts("x", "y.z")]
    assert set(unwritable(both)) == set(both)


@pytest.mark.parametrize(
    ("table", "written"),
    [
        (TableFacts("public", "orders"), "orders"),
        (TableFacts("public", "a.b"), "public.a.b"),
        (TableFacts("auth", "users"), "auth.users"),
    ],
)
def test_tables_are_written_short_where_that_is_clear(table: TableFacts, written: str) -> None:
    """A table of public is written by its name alone, unless a dot would make that ambiguous."""
    assert table.written == written


def test_names_head_their_prefix_in_singular_and_plural() -> None:
    """`accounts` heads account_*, in snake case and in CamelCase, and the module has its name."""
    tables = ["accounts", "account_tags", "AccountNotes", "categories", "category_images"]
    assert _proposed(tables) == {
        "accounts": ["accounts", "AccountNotes", "account_tags"],
        "categories": ["categories", "category_images"],
    }


def test_a_prefix_without_a_head_is_a_module() -> None:
    """Tables that share a first word are a module also when no table is called by that word."""
    found = _proposed(["device_cpus", "device_disks", "device_glossary", "rack", "rack_units"])
    assert set(found) == {"device", "rack"}


def test_a_prefix_that_most_tables_share_is_no_module() -> None:
    """A prefix of nearly all tables is looked through."""
    tables = ["wp_posts", "wp_post_tags", "wp_users", "wp_user_roles", "wp_links", "wp_link_tags"]
    assert set(_proposed(tables)) == {"posts", "users", "links"}


def test_a_foreign_key_joins_a_table_that_hangs_on_one_head() -> None:
    """Details and look-ups that foreign keys tie to one module only belong to it."""
    tables = ["orders", "order_lines", "products", "shippers", "users", "user_roles"]
    keys = ["orders > users", "orders > shippers", "order_lines > products", "order_lines > orders"]
    assert _proposed(tables, *keys) == {
        "orders": ["orders", "order_lines", "products", "shippers"],
        "users": ["users", "user_roles"],
    }


def test_who_did_it_is_no_tie() -> None:
    """A key such as created_by does not put a table into the module of users."""
    tables = ["users", "user_roles", "racks", "rack_units", "colors", "sizes"]
    keys = [Reference("public.colors", "public.users", ("created_by",))]
    proposed = propose_modules(_tables(*tables), keys)
    assert [table.name for table in proposed["general"]] == ["colors", "sizes"]


def test_what_is_left_over_comes_last() -> None:
    """Tables of public that nothing ties together come after the modules of other schemas."""
    tables = [TableFacts("public", "colors"), TableFacts("sales", "orders")]
    proposed = propose_modules([*tables, TableFacts("public", "sizes")], [])
    assert list(proposed) == ["sales", "general"]


def test_the_demo_databases_look_as_a_person_would_have_it() -> None:
    """Tables of the demo's crm fall into the modules that its people named."""
    tables = [
        "leads", "lead_sources", "lead_activities", "contacts", "contact_emails", "accounts",
        "account_tags", "deals", "deal_stages", "deal_products", "products", "meetings",
        "meeting_notes", "tasks", "task_comments", "users",
    ]  # fmt: skip
    keys = [
        "accounts > contacts", "contacts > accounts", "deals > accounts", "deals > contacts",
        "deal_products > deals", "deal_products > products", "leads > contacts", "leads > deals",
        "meetings > accounts", "meetings > deals", "tasks > deals", "tasks > meetings",
        "tasks > users", "deals > users", "accounts > users", "leads > users",
    ]  # fmt: skip
    assert set(_proposed(tables, *keys)) == {
        "leads", "contacts", "accounts", "deals", "meetings", "tasks", "users",
    }  # fmt: skip


def test_every_other_schema_is_a_module() -> None:
    """A schema of usual size is a module; a big one is several, with its name in theirs."""
    big = [TableFacts("big", f"{word}_{n}") for word in ("ab", "cd", "ef") for n in range(9)]
    small = [TableFacts("auth", name) for name in ("users", "sessions")]
    proposed = propose_modules([*big, *small, *_tables("deals", "deal_notes")], [])
    assert set(proposed) == {"deals", "big_ab", "big_cd", "big_ef", "auth"}


def test_many_schemas_go_by_prefix() -> None:
    """A schema for each tenant does not make a module for each tenant."""
    tables = [TableFacts(f"tenant_{n}", "orders") for n in range(40)]
    assert set(propose_modules([*tables, *_tables("tenants")], [])) == {"tenants", "tenant"}


@settings(deadline=None)
@given(st.lists(_STRANGE, max_size=8, unique=True))
def test_module_names_are_always_valid(schemas: list[str]) -> None:
    """Module names are lower-case letters, digits and _, whatever the schemas are called."""
    proposed = propose_modules([TableFacts(schema, "t") for schema in schemas], [])
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) for name in proposed)
    assert not {"other", "catalog"} & set(proposed)


def _tables(*names: str) -> list[TableFacts]:
    return [TableFacts("public", name) for name in names]


def _keys(*keys: str) -> list[Reference]:
    pairs = (key.split(" > ") for key in keys)
    return [Reference(f"public.{child}", f"public.{parent}") for child, parent in pairs]


def _proposed(names: list[str], *keys: str) -> Mapping[str, list[str]]:
    proposed = propose_modules(_tables(*names), _keys(*keys))
    return {module: [table.name for table in own] for module, own in proposed.items()}
