"""A working `defs.yaml` for a database that nobody has described yet, from its catalog alone."""

import contextlib
import os
import re
import secrets
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import yaml
from psycopg import sql
from pydantic import ValidationError

from backup_pipelines.errors import Failed, Refused
from backup_pipelines.manifest import Excluded
from backup_pipelines.modules import assign
from backup_pipelines.onboarding.proposals import (
    Reference,
    TableFacts,
    exclusion_candidates,
    propose_modules,
    unwritable,
)
from backup_pipelines.postgres import introspect
from backup_pipelines.postgres.connection import (
    Connection,
    Server,
    connected,
    describe,
    refuse_unsuitable,
)
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.queries import query
from backup_pipelines.settings import parse_size
from backup_pipelines.system import System

_STORAGE_LIMIT = "10 GB"

# From this size on a table decides how long the whole backup takes.
_BIG_TABLE = 10**9

_COMMENT_WIDTH = 96

# PyYAML knows words such as `on` and `null`; `1e3` and `y` are text to it, but not to all readers.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]+")


@dataclass(frozen=True)
class InitReport:
    """What was written, and what its reader should know."""

    path: Path
    modules: Mapping[str, tuple[str, ...]]
    excluded: tuple[Excluded, ...]  # candidates only: nothing is excluded before somebody says so
    left_out: tuple[Excluded, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """What the catalog says of a database, partitions included."""

    server: Server
    tables: tuple[LiveTable, ...]
    unlogged: frozenset[int]
    references: tuple[Reference, ...]
    left_out: tuple[Excluded, ...]
    unreadable_sequences: tuple[str, ...]  # their schemas

    @property
    def roots(self) -> list[LiveTable]:
        """The tables that people mean."""
        return [table for table in self.tables if table.partition_of is None]

    def facts(self) -> list[TableFacts]:
        """The roots as proposals see them, each with the size of all its partitions."""
        sizes: dict[str, int] = {}
        for table in self.tables:
            sizes[table.root] = sizes.get(table.root, 0) + table.table_bytes
        return [TableFacts(t.schema, t.name, sizes[t.qualified], t.primary_key) for t in self.roots]


def init_system(system: str, database_url_env: str, url: str, folder: Path) -> InitReport:
    """Write `folder/<system>/defs.yaml` for the database at `url`; nothing is ever overwritten.

    Raises Refused when it exists, for wrong names, and for a database that cannot be backed up.
    """
    _refuse_names(system, database_url_env)
    path = folder / system / "defs.yaml"
    if os.path.lexists(path):
        raise _exists(path)
    found = read_database(url, system)
    if not found.roots:
        raise Refused(
            f"database {found.server.database} has no tables; is {database_url_env} the right one?"
        )
    facts = found.facts()
    odd = unwritable(facts)
    named = [table for table in facts if table not in odd]
    proposed = propose_modules(named, found.references)
    candidates = exclusion_candidates(named, found.references)
    report = InitReport(
        path=path,
        modules={name: tuple(t.written for t in own) for name, own in proposed.items()},
        excluded=tuple(Excluded(name=t.written, reason=why) for t, why in candidates.items()),
        left_out=found.left_out,
        warnings=(
            *(
                f"{_shown(table.qualified)} is backed up in module other: {why}"
                for table, why in odd.items()
            ),
            *warnings_about(found),
        ),
    )
    text = render(system, database_url_env, report)
    _check(text, report, [table.qualified for table in found.roots])
    _publish(path, text)
    return report


def read_database(url: str, system: str) -> Found:
    """What the catalog says of the database, in one moment; needs no right but to connect."""
    with connected(url, what=f"the database of {system}") as connection:
        # In SQL_ASCII, to be refused below, names would come as bytes.
        connection.execute("SET client_encoding TO 'UTF8'")
        server = describe(connection)
        refuse_unsuitable(server, url, connection)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        try:
            with connection.transaction():
                return _read(connection, server)
        except psycopg.Error as error:
            raise Failed(f"cannot read the catalog of {server.database}: {error}") from error


def _read(connection: Connection, server: Server) -> Found:
    listed = introspect.list_tables(connection)
    oids = {"oids": [table.oid for table in listed]}
    traits = {row["oid"]: row for row in connection.execute(query("table_traits"), oids)}
    tables = tuple(_with_traits(table, traits[table.oid]) for table in listed)
    roots = {table.qualified: table.root for table in tables}
    return Found(
        server=server,
        tables=tables,
        unlogged=frozenset(oid for oid, row in traits.items() if row["unlogged"]),
        references=tuple(
            Reference(
                table=roots.get(key.table, key.table),
                references=roots.get(key.references, key.references),
                columns=key.columns,
                cascades=key.on_delete == "c",
            )
            for key in introspect.list_foreign_keys(connection)
        ),
        left_out=tuple(introspect.list_left_out(connection)),
        unreadable_sequences=tuple(
            sorted(
                {
                    row["schema"]
                    for row in connection.execute(query("sequences"))
                    if not row["may_select"]
                }
            )
        ),
    )


def _with_traits(table: LiveTable, traits: Mapping[str, Any]) -> LiveTable:
    # Asked of tables too that the role may not read yet: the GRANT alone would not be enough.
    return replace(
        table, rows_hidden=traits["rows_hidden"], primary_key=tuple(traits["primary_key"])
    )


def warnings_about(found: Found) -> tuple[str, ...]:
    """What stands in the way of a backup, or surprises later; SQL to paste on lines of its own."""
    role = sql.Identifier(found.server.role).as_string()
    warnings = list(_privileges(found, role))
    hidden = _names(table for table in found.tables if table.rows_hidden)
    if hidden:
        warnings.append(
            f"row-level security hides rows from role {_shown(found.server.role)}, so a backup "
            f"would be refused, in {hidden}\nALTER ROLE {_shown(role)} BYPASSRLS;"
        )
    keyless = _names(table for table in found.roots if not table.primary_key)
    if keyless:
        warnings.append(f"no primary key, so rows cannot be told apart one by one, in {keyless}")
    unlogged = _names(table for table in found.tables if table.oid in found.unlogged)
    if unlogged:
        warnings.append(f"unlogged, so a crash of the server empties them: {unlogged}")
    sizes = {table.qualified: table.size_bytes for table in found.facts()}
    big = sorted((-size, name) for name, size in sizes.items() if size >= _BIG_TABLE)
    if big:
        listed = ", ".join(f"{_shown(name)} ({_size(-size)})" for size, name in big)
        warnings.append(f"big tables, which decide how long a backup takes: {listed}")
    if sum(sizes.values()) > parse_size(_STORAGE_LIMIT):
        warnings.append(
            f"the tables take {_size(sum(sizes.values()))}: look at storage_limit and keep_last"
        )
    return tuple(warnings)


def _privileges(found: Found, role: str) -> Iterator[str]:
    """What the role may not read, with the statements that grant it."""
    schemas: dict[str, list[LiveTable]] = {}
    for table in found.tables:
        schemas.setdefault(table.schema, []).append(table)
    missing: list[str] = []
    grants: list[str] = []
    for schema in sorted({*schemas, *found.unreadable_sequences}):
        tables = schemas.get(schema, [])
        quoted = sql.Identifier(schema).as_string()
        refused = [table for table in tables if not table.may_select]
        if any(not table.may_use_schema for table in tables):
            missing.append(f"schema {_shown(schema)}")
            grants.append(f"GRANT USAGE ON SCHEMA {quoted} TO {role};")
        if refused and len(refused) == len(tables):
            missing.append(f"all tables of {_shown(schema)}")
            grants.append(f"GRANT SELECT ON ALL TABLES IN SCHEMA {quoted} TO {role};")
        elif refused:
            missing.append(_names(refused))
            listed = ", ".join(table.identifier.as_string() for table in refused)
            grants.append(f"GRANT SELECT ON {listed} TO {role};")
        if schema in found.unreadable_sequences:
            missing.append(f"sequences of {_shown(schema)}")
            grants.append(f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA {quoted} TO {role};")
    if missing:
        lines = (_shown(grant) for grant in grants)
        yield "\n".join(
            [
                f"role {_shown(found.server.role)} may not read {', '.join(missing)}; as their "
                "owner run",
                *lines,
            ]
        )


def render(system: str, database_url_env: str, report: InitReport) -> str:
    """The text of the YAML, with what its reader should know as comments."""
    candidates = {entry.name for entry in report.excluded}
    lines = [
        *_header(system, database_url_env, report),
        "",
        "type: backup_pipelines.PostgresBackup",
        "",
        "attributes:",
        f"  system: {scalar(system)}",
        f"  database_url_env: {scalar(database_url_env)}",
        "  modules:" if report.modules else "  modules: {}",
    ]
    for module, tables in report.modules.items():
        lines += [f"    {scalar(module)}:", "      tables:"]
        for table in tables:
            note = "  # left out? see excluded" if table in candidates else ""
            lines.append(f"        - {scalar(table)}{note}")
    lines += _excluded(report.excluded)
    lines += [
        "  schedule:",
        f"    every: {scalar('every_2_days')}",
        f"    at: {scalar('02:00')}",
        f"    timezone: {scalar('UTC')}",
        "  retention:",
        "    keep_last: 30",
        f"  storage_limit: {scalar(_STORAGE_LIMIT)}",
    ]
    return "\n".join(lines) + "\n"


def _header(system: str, database_url_env: str, report: InitReport) -> list[str]:
    return [
        *_comment(
            f"Backups of {system}, the database that {database_url_env} names. Proposed by "
            "`backup-pipelines init` from its schemas, table names and foreign keys: change what "
            "you like. A table that no module names is backed up all the same, in module other. "
            "Next:"
        ),
        f"#   backup-pipelines backup {system}",
        f"#   backup-pipelines drill {system}",
        *(["#", "# To look at:"] if report.warnings else []),
        *(line for warning in report.warnings for line in _item(warning)),
        *(["#", "# Left out, as in every logical backup:"] if report.left_out else []),
        *(
            line
            for entry in report.left_out
            for line in _item(f"{_shown(entry.name)}: {_shown(entry.reason)}")
        ),
    ]


def _excluded(candidates: Sequence[Excluded]) -> list[str]:
    if not candidates:
        return ["  excluded: []"]
    lines = [
        '  # Nothing is left out yet. To leave out rows that nobody wants back, remove "# " from',
        "  # these lines, and the table from its module above (or the module, if it has no other).",
        "  # excluded:",
    ]
    for entry in candidates:
        lines += [
            f"  #   - table: {scalar(entry.name)}",
            f"  #     reason: {scalar(entry.reason)}",
        ]
    return lines


def scalar(text: str) -> str:
    """The text as YAML: quoted whenever any reader might take it for something else than text."""
    emitted = yaml.safe_dump(
        [text],
        default_style=None if _PLAIN.fullmatch(text) else '"',
        default_flow_style=True,
        allow_unicode=True,
        width=sys.maxsize,
    )
    return str(emitted).strip().removeprefix("[").removesuffix("]")


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in _wrapped(text)]


def _item(text: str) -> list[str]:
    """A point of a list; what follows its first line is SQL, which must stay on one line."""
    first, *statements = (_shown(line) for line in text.split("\n"))
    start, *more = _wrapped(first) or [""]
    return [
        f"# - {start}",
        *(f"#   {line}" for line in more),
        *(f"#     {statement}" for statement in statements),
    ]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _COMMENT_WIDTH, break_long_words=False, break_on_hyphens=False)


def _names(tables: Iterable[LiveTable]) -> str:
    return ", ".join(sorted(_shown(table.qualified) for table in tables))


def _shown(text: str) -> str:
    """The text with everything escaped that could end a comment or move a terminal's cursor."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _size(size_bytes: int) -> str:
    size, units = float(size_bytes), ["B", "KB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.1f} {units[0]}"


def _refuse_names(system: str, database_url_env: str) -> None:
    try:
        System(system=system, database_url_env=database_url_env, modules={})
    except ValidationError as error:
        wrong = (f"{found['loc'][0]}: {found['msg']}" for found in error.errors())
        raise Refused("; ".join(wrong)) from error


def _check(text: str, report: InitReport, tables: Sequence[str]) -> None:
    """Raise Failed unless the text reads back as a system that has every table once."""
    try:
        system = System.model_validate(yaml.safe_load(text)["attributes"])
    except (yaml.YAMLError, ValidationError) as error:
        raise Failed(f"what was to become {report.path} does not read back: {error}") from error
    assigned = assign(system, tables)
    modules = {name: tuple(spec.tables) for name, spec in system.modules.items()}
    count = sum(len(found) for found in assigned.tables.values())
    if assigned.missing or count != len(tables) or modules != dict(report.modules):
        raise Failed(f"what was to become {report.path} does not name every table once")


def _publish(path: Path, text: str) -> None:
    """Write aside, then link: the file appears whole, and never in place of another."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            _link(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, FileExistsError) and os.path.lexists(path):
            raise _exists(path) from error
        with contextlib.suppress(OSError):
            path.parent.rmdir()
        raise Failed(f"cannot write {path}: {error.strerror}") from error


def _link(aside: Path, path: Path) -> None:
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:
        # Some file systems have no hard links; there, two at the same moment are not told apart.
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        aside.rename(path)


def _exists(path: Path) -> Refused:
    return Refused(f"{path} exists; remove it first to have it proposed anew")
