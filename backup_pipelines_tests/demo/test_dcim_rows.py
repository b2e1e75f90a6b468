"""The dcim demo database: its rows, and what a real server makes of its SQL."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import psycopg
import pytest
from psycopg import sql

from backup_pipelines.demo.dcim.rows import tables
from backup_pipelines.demo.dcim.world import build
from backup_pipelines.demo.seed import create_database
from backup_pipelines.demo.server import EmbeddedServer

Connection = psycopg.Connection[tuple[Any, ...]]
Content = dict[str, list[dict[str, object]]]

DATABASE = "dcim_seed_test"
SEED = 7
NAMED_HOSTS = frozenset(
    ("web-prod-01", "web-prod-02", "web-prod-03", "db-primary-01", "db-replica-01", "storage-01")
)
TABLES = frozenset(
    (
        "public.servers",
        "public.rack_metadata",
        "public.power_specs",
        "public.psu_specs",
        "public.property_definitions",
        "public.enum_colors",
        "public.filter_defaults",
        "public.user_filter_preferences",
        "public.device_glossary",
        "public.device_cpu_specs",
        "public.device_memory_specs",
        "public.device_storage_specs",
        "public.device_network_specs",
        "public.device_power_specs",
        "public.device_management_specs",
        "public.device_compatibility",
        "public.profiles",
        "public.user_roles",
        "public.dashboard_widget_configs",
        "public.list_widget_configs",
        "public.activity_logs",
        "auth.users",
        "auth.sessions",
        "auth.refresh_tokens",
    )
)
TRIGGER_FUNCTIONS = frozenset(
    (
        "handle_new_user",
        "handle_updated_at",
        "update_updated_at_column",
        "assign_auto_power_estimation",
    )
)
USER = "(SELECT id FROM auth.users ORDER BY email LIMIT 1)"
CALLS = {
    "get_enum_values": ("SELECT * FROM get_enum_values('lifecycle_status')", "Ordered"),
    "get_table_schema": ("SELECT * FROM get_table_schema('servers') LIMIT 1", "id"),
    "has_role": (
        "SELECT has_role(user_id, 'super_admin') FROM user_roles WHERE role = 'super_admin'",
        True,
    ),
    "create_default_admin": ("SELECT has_role(create_default_admin(), 'super_admin')", True),
    "get_power_data_overview": ("SELECT sum(server_count) FROM get_power_data_overview()", 276),
    "get_activity_logs": ("SELECT count(*) FROM get_activity_logs(limit_count => 7)", 7),
    "get_activity_metrics": ("SELECT (get_activity_metrics() ->> 'total')::int", 3000),
    "get_user_filter_preferences": (
        f"SELECT count(*) FROM get_user_filter_preferences({USER})",
        9,
    ),
    "update_user_filter_preference": (
        f"SELECT is_enabled FROM update_user_filter_preference({USER}, 'rack', false)",
        False,
    ),
    "get_global_filter_defaults": (
        "SELECT filter_key FROM get_global_filter_defaults() LIMIT 1",
        "dc_site",
    ),
    "auto_enable_filters_for_user": (
        f"SELECT auto_enable_filters_for_user({USER}) BETWEEN 0 AND 9",
        True,
    ),
    "sync_enum_columns_to_filter_defaults": ("SELECT sync_enum_columns_to_filter_defaults()", 2),
    "delete_enum_color": ("SELECT delete_enum_color('dc_site', 'DC-East')", True),
    "drop_server_column": ("SELECT drop_server_column('custom_asset_owner')", True),
    "column_exists": ("SELECT column_exists('servers', 'custom_warranty_expiry')", True),
    "execute_sql": ("SELECT execute_sql('UPDATE servers SET notes = NULL')", 276),
    "get_property_definitions_with_schema": (
        "SELECT count(*) FROM get_property_definitions_with_schema() WHERE column_exists",
        19,
    ),
}


def content(seed: int, scale: float) -> Content:
    """Return every table's rows as dictionaries."""
    found: Content = {}
    for table, columns, rows in tables(seed, scale):
        found.setdefault(table, []).extend(dict(zip(columns, r, strict=True)) for r in rows)
    return found


@pytest.fixture(scope="module")
def rows() -> Content:
    """Return the rows at scale 1."""
    return content(SEED, 1.0)


@pytest.fixture(scope="module")
def database_url(server: EmbeddedServer) -> Iterator[str]:
    """Make the demo database for these tests, and drop it afterwards."""
    create_database(server.url, "dcim", scale=1.0, seed=SEED, database=DATABASE)
    yield server.url(DATABASE)
    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@pytest.fixture
def database(database_url: str) -> Iterator[Connection]:
    """Connect to the demo database for one test, and take back what it did."""
    with psycopg.connect(database_url) as connection:
        yield connection
        connection.rollback()


def value(connection: Connection, query: str) -> object:
    """Return the first column of a query's first row."""
    row = connection.execute(sql.SQL(query)).fetchone()  # pyright: ignore[reportArgumentType]
    assert row is not None
    return row[0]


def test_the_same_seed_makes_the_same_rows(rows: Content) -> None:
    """Two runs of one seed agree in every value, and another seed differs."""
    assert content(SEED, 1.0) == rows
    assert content(SEED + 1, 1.0) != rows


def test_tables_do_not_depend_on_the_order_they_are_read_in(rows: Content) -> None:
    """A table read last of all has the rows it has when read in its turn."""
    backwards = reversed(list(tables(SEED, 1.0)))
    assert {
        table: [dict(zip(columns, row, strict=True)) for row in found]
        for table, columns, found in backwards
    } == rows


def test_every_table_has_rows_and_there_is_no_other(rows: Content) -> None:
    """The tables are exactly the application's, and none is empty."""
    assert rows.keys() == TABLES
    assert all(rows.values())


def test_every_server_has_a_name_a_serial_number_and_power_specs_of_its_own(rows: Content) -> None:
    """There are 276 servers with distinct hostnames and serials, the named ones among them."""
    servers = rows["public.servers"]
    assert len(servers) == 276
    assert len({server["serial_number"] for server in servers}) == 276
    assert len({server["hostname"] for server in servers}) == 276
    assert {server["hostname"] for server in servers} >= NAMED_HOSTS
    ids = sorted(str(server["id"]) for server in servers)
    assert sorted(str(specs["server_id"]) for specs in rows["public.power_specs"]) == ids


@pytest.mark.parametrize("seed", range(5))
def test_no_two_devices_share_a_rack_unit(seed: int) -> None:
    """Every device fits into its rack, and no unit of a rack is taken twice."""
    taken: set[tuple[str, int]] = set()
    for server in build(seed, 3.0).servers:
        if server.rack is None or server.unit is None:
            continue
        units = range(server.unit, server.unit + server.device.height)
        assert units[0] >= 1
        assert units[-1] <= 42
        assert not taken & {(server.rack.name, unit) for unit in units}
        taken |= {(server.rack.name, unit) for unit in units}


def test_there_are_two_super_admins(rows: Content) -> None:
    """Two users are super admins, and others have each of the other roles."""
    roles = [row["role"] for row in rows["public.user_roles"]]
    assert roles.count("super_admin") == 2
    assert set(roles) == {"super_admin", "engineer", "viewer"}


def test_the_log_grows_with_the_scale_and_servers_never_shrink() -> None:
    """A tenth of the scale is a tenth of the log, and all servers still."""
    small, large = content(SEED, 0.1), content(SEED, 2.0)
    assert len(small["public.activity_logs"]) == 300
    assert len(small["public.servers"]) == 276
    assert len(large["public.activity_logs"]) == 6000
    assert len({server["serial_number"] for server in large["public.servers"]}) == 552


def test_rows_are_made_as_they_are_read() -> None:
    """The first lines of an enormous log do not wait for the rest of it."""
    log = next(t.rows for t in tables(SEED, 50.0) if t.table == "public.activity_logs")
    assert [row[0] for row in islice(log, 3)] == [1, 2, 3]


def test_the_server_accepts_all_of_it(database: Connection, rows: Content) -> None:
    """Loaded, each table has the rows it should, and every constraint has been validated."""
    for table, expected in rows.items():
        assert value(database, f"SELECT count(*) FROM {table}") == len(expected), table
    assert value(database, "SELECT count(*) FROM pg_constraint WHERE NOT convalidated") == 0
    assert value(database, "SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == 25


def test_the_database_has_exactly_the_tables(database: Connection) -> None:
    """No table of the database is missing from the list or beside it."""
    found = database.execute(
        "SELECT schemaname || '.' || tablename FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    assert {row[0] for row in found} == TABLES


def test_nothing_needs_the_tables_left_out_of_backups(database: Connection) -> None:
    """Sessions and refresh tokens refer to users, and no table refers to them."""
    found = database.execute(
        "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint"
        " WHERE contype = 'f' AND ARRAY['auth.sessions', 'auth.refresh_tokens']::regclass[]"
        " && ARRAY[conrelid, confrelid]::regclass[]"
    )
    assert sorted(found) == [
        ("auth.refresh_tokens", "auth.users"),
        ("auth.sessions", "auth.users"),
    ]


def test_the_database_has_exactly_the_functions(database: Connection) -> None:
    """Twenty-one functions, of which the trigger functions are attached to a table."""
    found = database.execute(
        "SELECT proname, EXISTS (SELECT FROM pg_trigger WHERE tgfoid = p.oid) FROM pg_proc AS p"
        " WHERE pronamespace IN ('public'::regnamespace, 'auth'::regnamespace)"
    ).fetchall()
    assert len(found) == 21
    assert {name for name, _ in found} == CALLS.keys() | TRIGGER_FUNCTIONS
    assert {name for name, attached in found if attached} == TRIGGER_FUNCTIONS


@pytest.mark.parametrize("function", sorted(CALLS))
def test_a_function_can_be_called(database: Connection, function: str) -> None:
    """The application's function answers as it should, called by the owner."""
    query, expected = CALLS[function]
    database.execute("SET ROLE dcim_owner")
    assert value(database, query) == expected


def test_an_enum_has_grown_in_the_middle(database: Connection) -> None:
    """A label added later is listed where it was put, not at the end."""
    found = database.execute("SELECT * FROM get_enum_values('environment_type')")
    labels = [label for (label,) in found]
    assert labels[:3] == ["Production", "Staging", "Pre-Production"]


def test_a_custom_column_goes_with_its_definition_and_no_other_column_does(
    database: Connection,
) -> None:
    """Dropping a custom column removes its property; a column of the application is refused."""
    assert value(database, "SELECT drop_server_column('custom_monitored')")
    left = "SELECT count(*) FROM property_definitions WHERE key = 'custom_monitored'"
    assert value(database, left) == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only custom columns"):
        value(database, "SELECT drop_server_column('hostname')")


def test_the_first_admin_of_an_empty_system_is_made(database: Connection) -> None:
    """With no super admin left, create_default_admin() makes a user who is one, profile and all."""
    database.execute("DELETE FROM user_roles WHERE role = 'super_admin'")
    made = value(database, "SELECT create_default_admin()")
    again = database.execute(
        "SELECT create_default_admin() = %s, has_role(%s, 'super_admin')", (made, made)
    )
    assert again.fetchall() == [(True, True)]
    name = "SELECT full_name FROM profiles WHERE email = 'admin@example.com'"
    assert value(database, name) == "Default administrator"


def test_a_new_user_gets_a_profile_and_a_role(database: Connection) -> None:
    """Signing up makes a profile with the user's name and the role of a viewer."""
    database.execute(
        "INSERT INTO auth.users (email, raw_user_meta_data)"
        " VALUES ('new@example.com', '{\"full_name\": \"New Person\"}')"
    )
    found = database.execute(
        "SELECT p.full_name, r.role FROM profiles AS p JOIN user_roles AS r ON r.user_id = p.id"
        " WHERE p.email = 'new@example.com'"
    )
    assert found.fetchall() == [("New Person", "viewer")]


def test_a_new_server_gets_an_estimate_that_gives_way_to_measurements(
    database: Connection,
) -> None:
    """Power is estimated from the model, else from the kind, and measured figures stay."""
    model = "(SELECT device_id FROM device_power_specs ORDER BY max_watts DESC LIMIT 1)"
    database.execute(
        "INSERT INTO servers (hostname, serial_number, dc_site)"
        " VALUES ('new-01', 'NEW1', 'DC-East')"
    )
    watts = (
        "SELECT max_watts FROM power_specs JOIN servers AS s ON s.id = server_id"
        " WHERE hostname = 'new-01'"
    )
    assert value(database, watts) == 560
    update = sql.SQL("UPDATE servers SET glossary_id = {} WHERE hostname = 'new-01'")
    database.execute(update.format(sql.SQL(model)))
    assert value(database, watts) == 10200
    database.execute("UPDATE power_specs SET is_auto_estimated = false, max_watts = 9999")
    database.execute("UPDATE servers SET glossary_id = NULL WHERE hostname = 'new-01'")
    assert value(database, watts) == 9999


def test_an_update_moves_updated_at(database: Connection) -> None:
    """On every table with one of the two timestamp triggers, updated_at is when the row changed."""
    found = database.execute(
        "SELECT tgrelid::regclass::text FROM pg_trigger"
        " WHERE tgfoid IN ('handle_updated_at'::regproc, 'update_updated_at_column'::regproc)"
    )
    changed = [table for (table,) in found]
    assert len(changed) == 12
    for table in changed:
        database.execute(
            sql.SQL("UPDATE {} SET updated_at = '2000-01-01'").format(sql.Identifier(table))
        )
        assert value(database, f"SELECT count(*) FROM {table} WHERE updated_at <> now()") == 0


def test_sequences_continue_after_the_rows(database: Connection) -> None:
    """The next log entry, colour, filter and token get numbers nobody has yet."""
    for table in ("activity_logs", "enum_colors", "filter_defaults", "auth.refresh_tokens"):
        sequence = f"pg_get_serial_sequence('{table}', 'id')"
        assert value(database, f"SELECT nextval({sequence}) > max(id) FROM {table}") is True


def test_nobody_but_a_super_admin_deletes_a_server(database: Connection) -> None:
    """Row-level security lets a viewer see servers and delete none; a super admin deletes."""
    deleted: dict[str, int] = {}
    for role in ("viewer", "super_admin"):
        database.execute("RESET ROLE")
        user = value(
            database, f"SELECT user_id::text FROM user_roles WHERE role = '{role}' LIMIT 1"
        )
        database.execute("SELECT set_config('request.jwt.claim.sub', %s, true)", (user,))
        database.execute("SET LOCAL ROLE authenticated")
        assert value(database, "SELECT count(*) FROM servers") == 276
        deleted[role] = database.execute("DELETE FROM servers WHERE hostname = 'kvm-01'").rowcount
    assert deleted == {"viewer": 0, "super_admin": 1}
