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

from backup_pipelines import layout
from backup_pipelines.errors import Damaged, Failed
from backup_pipelines.manifest import DdlObject, DdlSection, Manifest
from backup_pipelines.postgres import ddl
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.queries import query
from backup_pipelines.storage import age
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
    "FOREIGN DATA WRAPPER",
    "SERVER",
    "USER MAPPING",
    "FOREIGN TABLE",
}

_OWNER = re.compile(r'ALTER .* OWNER TO (?:"(?:[^"]|"")+"|[^\s";]+);', re.DOTALL)

# A missing role, a right that this role does not have: reasons to leave an optional thing out.
_TOLERATED = (errors.UndefinedObject, errors.InsufficientPrivilege)

# Grants by somebody else than the owner come between these two, and make sense only together.
_GRANT_AS, _GRANTED = "SET SESSION AUTHORIZATION ", "RESET SESSION AUTHORIZATION;"

# PostgreSQL names a role that does not exist in SET SESSION AUTHORIZATION a wrong value.
_NO_SUCH_GRANTOR = errors.InvalidParameterValue


@dataclass(frozen=True)
class DdlPlan:
    """The entries to apply in their four stages, and what is left out beforehand.

    Grants come after the proof, since owners may have revoked rights from themselves, and before
    materialized views are refreshed by owners who need them. Row-level security would hide rows
    from all of that, and event triggers may refuse or answer any DDL: they are the last.
    """

    before_rows: tuple[ddl.Entry, ...]
    after_rows: tuple[ddl.Entry, ...]
    grants: tuple[ddl.Entry, ...]
    last: tuple[ddl.Entry, ...]
    skipped: tuple[str, ...]


def prepare(connection: Connection, store: Store, entry: Manifest) -> DdlPlan:
    """Read, check and adapt the DDL; raises Damaged or Failed before anything is applied."""
    _require_extensions(connection, entry)
    sections = {section.section: read_section(store, section) for section in entry.ddl}
    schemas = {row["name"] for row in connection.execute(query("schemas")).fetchall()}
    before = tuple(_without_existing(sections["pre-data"], schemas))
    tables = {f"{e.schema}.{e.name}" for e in before if e.type == "TABLE"}
    relaxed, skipped = _relax_foreign_keys(sections["post-data"], entry, tables)
    both = (*before, *relaxed)
    return DdlPlan(
        before_rows=tuple(e for e in before if _stage(e) == "ddl"),
        after_rows=tuple(e for e in relaxed if _stage(e) == "ddl"),
        grants=tuple(e for e in both if _stage(e) == "grants"),
        last=tuple(
            e for stage in ("row security", "event triggers") for e in both if _stage(e) == stage
        ),
        skipped=tuple(skipped),
    )


def read_section(store: Store, section: DdlSection) -> list[ddl.Entry]:
    """The entries of a section; raises Damaged unless file and every object match the manifest.

    Raises NotOpened for one that is encrypted to others.
    """
    data = read_bytes(store, section)
    if layout.is_encrypted(section.key):
        data = age.decrypt(data, store.uri(section.key))
    try:
        entries = ddl.split(data.decode("utf-8"))
    except (Damaged, UnicodeDecodeError) as error:
        raise Damaged(f"{store.uri(section.key)} is no DDL: {error}") from error
    if [_as_described(e) for e in entries] != [_as_described(o) for o in section.objects]:
        raise Damaged(f"the objects in {store.uri(section.key)} are not those of its manifest")
    return entries


def read_bytes(store: Store, section: DdlSection) -> bytes:
    """A section as it is stored; raises Damaged unless its bytes are those of the manifest."""
    data = store.get(section.key)
    if (len(data), hashlib.sha256(data).hexdigest()) != (section.size_bytes, section.sha256):
        raise Damaged(f"{store.uri(section.key)} is not the DDL that its manifest describes")
    return data


def _as_described(one: ddl.Entry | DdlObject) -> tuple[str, str, str, str, str]:
    schema = one.schema if isinstance(one, ddl.Entry) else one.schema_name
    return one.type, schema, one.name, one.owner, one.sha256


def apply(connection: Connection, entries: Iterable[ddl.Entry]) -> tuple[str, ...]:
    """Run the statements inside the caller's transaction; returns what was left out and why."""
    connection.execute(query("settings_for_ddl"))
    skipped: list[str] = []
    for entry in entries:
        for statement in _together(entry.statements):
            if entry.type in _OPTIONAL or _OWNER.fullmatch(statement):
                problems = list(_try(connection, entry, statement))
                skipped += problems
                if problems and statement.startswith("CREATE "):
                    break
            else:
                _run(connection, entry, statement)
    return tuple(dict.fromkeys(skipped))


def _stage(entry: ddl.Entry) -> str:
    if entry.type in {"ACL", "DEFAULT ACL"}:
        return "grants"
    if entry.type == "ROW SECURITY":
        return "row security"
    about = entry.name if entry.type == "COMMENT" else entry.type
    return "event triggers" if about.startswith("EVENT TRIGGER") else "ddl"


def _together(statements: Iterable[str]) -> Iterator[str]:
    """The statements, those that are to run in another role's name with the change of role."""
    held: list[str] = []
    for statement in statements:
        if held or statement.startswith(_GRANT_AS):
            held.append(statement)
            if statement == _GRANTED:
                yield "\n".join(held)
                held = []
        else:
            yield statement
    yield from held


def _run(connection: Connection, entry: ddl.Entry, statement: str) -> None:
    try:
        connection.execute(statement.encode())
    except psycopg.Error as error:
        raise _cannot_create(entry, error) from error


def _cannot_create(entry: ddl.Entry, error: psycopg.Error) -> Failed:
    return Failed(
        f"{entry.type.lower()} {entry.schema}.{entry.name} cannot be created here: "
        f"{str(error).strip()}"
    )


def _try(connection: Connection, entry: ddl.Entry, statement: str) -> Iterator[str]:
    try:
        with connection.transaction():
            connection.execute(statement.encode())
    except _TOLERATED as error:
        what = "owner" if entry.type not in _OPTIONAL else entry.type.lower()
        yield f"{what} of {entry.name}: {error.diag.message_primary}"
    except _NO_SUCH_GRANTOR as error:
        if not statement.startswith(_GRANT_AS):
            raise _cannot_create(entry, error) from error
        yield f"{entry.type.lower()} of {entry.name}: {error.diag.message_primary}"
    except psycopg.Error as error:
        raise _cannot_create(entry, error) from error


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
    entries: Iterable[ddl.Entry], manifest: Manifest, tables: set[str]
) -> tuple[list[ddl.Entry], list[str]]:
    """Keys to tables whose rows are not in the backup are created, but cannot be validated.

    A key to none of the `tables` that the DDL creates, or one that PostgreSQL does not create
    without validating it, is left out.
    """
    held = {table.qualified: table for table in manifest.tables}
    keys = {ddl.announced(f"{key.table} {key.name}"): key for key in manifest.foreign_keys}
    kept: list[ddl.Entry] = []
    skipped: list[str] = []
    for entry in entries:
        key = keys.get(f"{entry.schema}.{entry.name}") if entry.type == "FK CONSTRAINT" else None
        if key is not None and ddl.announced(key.references) not in tables:
            skipped.append(f"key {key.name} of {key.table}: no {key.references} in here")
        elif key is None or not key.validated or key.table not in held or key.references in held:
            kept.append(entry)
        elif held[key.table].kind == "partitioned":
            skipped.append(f"key {key.name} of {key.table}: no rows of {key.references} in here")
        else:
            skipped.append(
                f"check of {key.name} on {key.table}: no rows of {key.references} in here"
            )
            not_valid = tuple(s.removesuffix(";") + " NOT VALID;" for s in entry.statements)
            kept.append(replace(entry, statements=not_valid))
    return kept, skipped
