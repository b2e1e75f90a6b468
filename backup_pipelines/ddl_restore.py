"""The DDL of a backup applied to an empty database: checked by hash, adapted, reported.

What the database can do without (grants to roles that do not exist here, owners, comments) is
left out and said; everything else must succeed.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import psycopg
from psycopg import errors

from backup_pipelines.errors import Damaged, Failed
from backup_pipelines.manifest import DdlSection, Manifest
from backup_pipelines.postgres import ddl
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.queries import query
from backup_pipelines.storage.store import Store

# Statements of these kinds may fail where a role is missing or belongs to somebody else.
_OPTIONAL = {
    "ACL",
    "DEFAULT ACL",
    "COMMENT",
    "POLICY",
    "PUBLICATION",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "EVENT TRIGGER",
}

_OWNER = re.compile(r"ALTER [^;]* OWNER TO [^;]*;")

# A missing role, a right that this role does not have: reasons to leave an optional thing out.
_TOLERATED = (errors.UndefinedObject, errors.InsufficientPrivilege)


@dataclass(frozen=True)
class DdlPlan:
    """The entries to apply in their three stages, and what is left out beforehand."""

    before_rows: tuple[ddl.Entry, ...]
    after_rows: tuple[ddl.Entry, ...]
    row_security: tuple[ddl.Entry, ...]
    skipped: tuple[str, ...]


def prepare(connection: Connection, store: Store, entry: Manifest) -> DdlPlan:
    """Read, check and adapt the DDL; raises Damaged or Failed before anything is applied."""
    _require_extensions(connection, entry)
    sections = {section.section: read_section(store, section) for section in entry.ddl}
    schemas = {row["name"] for row in connection.execute(query("schemas")).fetchall()}
    before = tuple(_without_existing(sections["pre-data"], schemas))
    relaxed, skipped = _relax_foreign_keys(sections["post-data"], entry)
    return DdlPlan(
        before_rows=before,
        after_rows=tuple(e for e in relaxed if e.type != "ROW SECURITY"),
        row_security=tuple(e for e in relaxed if e.type == "ROW SECURITY"),
        skipped=tuple(skipped),
    )


def read_section(store: Store, section: DdlSection) -> list[ddl.Entry]:
    """The entries of a section; raises Damaged unless file and every object match the manifest."""
    data = store.get(section.key)
    if hashlib.sha256(data).hexdigest() != section.sha256:
        raise Damaged(f"{store.uri(section.key)} is not the DDL that its manifest describes")
    entries = ddl.split(data.decode("utf-8"))
    if [entry.sha256 for entry in entries] != [entry.sha256 for entry in section.objects]:
        raise Damaged(f"the objects in {store.uri(section.key)} are not those of its manifest")
    return entries


def apply(connection: Connection, entries: Iterable[ddl.Entry]) -> tuple[str, ...]:
    """Run the statements inside the caller's transaction; returns what was left out and why."""
    connection.execute(query("settings_for_ddl"))
    skipped: list[str] = []
    for entry in entries:
        for statement in entry.statements:
            if entry.type in _OPTIONAL or _OWNER.fullmatch(statement):
                skipped += _try(connection, entry, statement)
            else:
                _run(connection, entry, statement)
    return tuple(dict.fromkeys(skipped))


def _run(connection: Connection, entry: ddl.Entry, statement: str) -> None:
    try:
        connection.execute(statement.encode())
    except psycopg.Error as error:
        raise Failed(
            f"{entry.type.lower()} {entry.schema}.{entry.name} cannot be created here: "
            f"{str(error).strip()}"
        ) from error


def _try(connection: Connection, entry: ddl.Entry, statement: str) -> Iterator[str]:
    try:
        with connection.transaction():
            connection.execute(statement.encode())
    except _TOLERATED as error:
        what = "owner" if entry.type not in _OPTIONAL else entry.type.lower()
        yield f"{what} of {entry.name}: {error.diag.message_primary}"


def _require_extensions(connection: Connection, entry: Manifest) -> None:
    rows = connection.execute(query("available_extensions")).fetchall()
    missing = sorted(set(entry.extensions) - {row["name"] for row in rows})
    if missing:
        raise Failed(
            f"the server has no extension {', '.join(missing)}, which {entry.system} needs; use a "
            "server of its own kind (drill.server_url_env in the YAML)"
        )


def _without_existing(entries: Iterable[ddl.Entry], schemas: set[str]) -> Iterator[ddl.Entry]:
    """Schemas that a new database has already, public first of all, are not created again."""
    for entry in entries:
        if entry.type == "SCHEMA" and entry.name in schemas:
            kept = tuple(s for s in entry.statements if not s.startswith("CREATE SCHEMA"))
            yield replace(entry, statements=kept)
        else:
            yield entry


def _relax_foreign_keys(
    entries: Iterable[ddl.Entry], manifest: Manifest
) -> tuple[list[ddl.Entry], list[str]]:
    """Keys to tables whose rows are not in the backup are created, but cannot be validated."""
    held = {table.qualified: table for table in manifest.tables}
    dangling = {
        (key.table.split(".", 1)[0], f"{key.table.split('.', 1)[1]} {key.name}"): key
        for key in manifest.foreign_keys
        if key.table in held and key.references not in held and key.validated
    }
    kept: list[ddl.Entry] = []
    skipped: list[str] = []
    for entry in entries:
        key = dangling.get((entry.schema, entry.name)) if entry.type == "FK CONSTRAINT" else None
        if key is None:
            kept.append(entry)
            continue
        skipped.append(f"check of {key.name} on {key.table}: no rows of {key.references} in here")
        if held[key.table].kind == "table":
            not_valid = tuple(s.removesuffix(";") + " NOT VALID;" for s in entry.statements)
            kept.append(replace(entry, statements=not_valid))
    return kept, skipped
