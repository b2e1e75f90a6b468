"""Restores the backup that lies beside this file into an empty PostgreSQL database.

    python3 restore.py --database-url-env VAR [--folder DIR] [--store DIR] [--identity FILE]

VAR names the environment variable with the database's URL, such as
postgresql://user:password@host:5432/database. Needs Python 3.11, `pip install pyarrow
"psycopg[binary]"`, and for an encrypted backup `pip install pyrage` or the `age` tool. It checks
every object, restores in one transaction, and proves each table by its digest before the commit:
the database ends whole or as empty as before. Exit code 0 done, 1 failed, 2 refused.
"""

import argparse
import base64
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence as ListOf
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import psycopg
from psycopg import conninfo
from psycopg.rows import dict_row

from backup_pipelines.errors import BackupError, Damaged, Failed, NewerFormat, Refused
from backup_pipelines.layout import backup_prefix, backups_prefix, is_encrypted
from backup_pipelines.manifest import DIGEST_VERSION, FORMAT_VERSION, is_sealed
from backup_pipelines.postgres.digest import Difference
from backup_pipelines.postgres.projection import stored_digest_query, to_digest
from backup_pipelines.recovery.opening import IDENTITY, decrypt_file
from backup_pipelines.restoring.load import load, refuse_unless_empty

QUERIES: dict[str, str] = {}

# Reading in pieces keeps memory flat, whatever the size of an object.
_PIECE = 4 * 1024 * 1024


def main(arguments: ListOf[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    try:
        _restore(_options(arguments))
    except BackupError as error:
        print(f"restore.py: {error}", file=sys.stderr)
        return error.exit_code
    # One sentence for the unexpected as well; what was begun is rolled back.
    except Exception as error:
        print(f"restore.py: {type(error).__name__}: {error}", file=sys.stderr)
        return Failed.exit_code
    return 0


class Record(SimpleNamespace):
    """An object of the manifest."""

    @property
    def schema_name(self) -> str:
        return self.schema

    @property
    def qualified(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def tables_count(self) -> int:
        return sum(1 for table in self.tables if table.partition_of is None)

    @property
    def records_count(self) -> int:
        return sum(table.rows for table in self.tables)


# The package's types, which only annotations name.
Connection = Pages = Manifest = Table = Part = View = DdlSection = DdlObject = Any
Store = Report = Step = Watcher = Encoding = BinaryForm = Sent = Any


class Folder:
    """The objects of a backup by their keys: its own folder, and others' below the store's."""

    def __init__(self, folder: Path, store: Path, own: str) -> None:
        self._folder, self._store, self._own = folder, store, own

    def uri(self, key: str) -> str:
        inside = key.removeprefix(self._own)
        return str(self._store / key if inside == key else self._folder / inside)

    def get(self, key: str) -> bytes:
        with self._opened(key) as file:
            return file.read()

    def checksum(self, key: str) -> tuple[int, str]:
        digest, size = hashlib.sha256(), 0
        with self._opened(key) as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                size += len(piece)
        return size, digest.hexdigest()

    def open_input(self, key: str) -> IO[bytes]:
        if not is_encrypted(key):
            return self._opened(key)
        plain = tempfile.TemporaryFile()  # noqa: SIM115
        with self._opened(key) as file:
            decrypt_file(file, plain, self.uri(key))
        plain.seek(0)
        return plain

    def _opened(self, key: str) -> IO[bytes]:
        try:
            return open(self.uri(key), "rb")
        except OSError as error:
            raise Damaged(f"{self.uri(key)} cannot be read ({error.strerror})") from error


def query(name: str) -> bytes:
    """A query of the package."""
    return QUERIES[name].encode()


def decrypt(data: bytes, name: str) -> bytes:
    """What an age file holds."""
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as plain:
        file.write(data)
        file.seek(0)
        decrypt_file(file, plain, name)
        plain.seek(0)
        return plain.read()


def binary_form(*_: Any) -> None:
    """Rows go as CSV, from which this server reads any type, and which needs no more libraries."""


def list_tables(connection: Any) -> list[Any]:
    """Every table of the database."""
    return [Record(**row) for row in connection.execute(query("tables")).fetchall()]


def compare(connection: Any, tables: ListOf[Any]) -> list[Difference]:
    """Every table whose rows or digest differ from the manifest's; an empty list is the proof."""
    found: list[Difference] = []
    for table in tables:
        if table.kind == "partitioned":
            continue
        row = connection.execute(stored_digest_query(table)).fetchone()
        live = row["rows"], to_digest(int(row["total"]))
        if live != (table.rows, table.digest):
            said = f"has {live[0]:,} rows with digest {live[1]}, not {table.rows:,} {table.digest}"
            found.append(Difference(table.qualified, said))
    return found


def _options(arguments: ListOf[str] | None) -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database-url-env", metavar="VAR", help="variable with the URL")
    parser.add_argument(
        "--folder",
        metavar="DIR",
        type=Path,
        default=Path(__file__).resolve().parent,
        help="folder of the backup, with manifest.json; by default that of this file",
    )
    parser.add_argument(
        "--store",
        metavar="DIR",
        type=Path,
        help="folder with the keys of the store, for parts that lie in other backups' folders; "
        "by default three levels above the backup's",
    )
    parser.add_argument("--identity", metavar="FILE", help=f"file of it; else {IDENTITY}")
    parser.add_argument("--check", action="store_true", help="check the objects, restore nothing")
    found = parser.parse_args(arguments)
    if bool(found.database_url_env) == found.check:
        parser.error("name either --database-url-env VAR or --check")
    return found


def _restore(options: Any) -> None:
    entry = _manifest(options.folder)
    own = backup_prefix(entry.system, entry.id)
    above = [options.folder, *options.folder.resolve().parents][:4]
    folder: Any = Folder(options.folder, options.store or above[-1], own)
    if options.identity:
        os.environ[IDENTITY] = options.identity
    encrypted = f", encrypted to {', '.join(entry.encryption.recipients)}" if _sealed(entry) else ""
    print(f"backup {entry.id} of {entry.system}, of {entry.snapshot_at}{encrypted}")
    _refuse_closed(entry)
    if options.check:
        _check(folder, entry)
        return
    with _connected(options.database_url_env) as connection:
        refuse_unless_empty(connection)
        _check(folder, entry)
        done = load(connection, folder, entry, print)
    for line in done.skipped:
        print(f"left out: {line}")
    print(
        f"restored {done.tables} tables with {done.rows:,} rows in {done.seconds:.1f} s, every "
        "one proved equal by its digest"
    )


def _manifest(folder: Path) -> Any:
    path = folder / "manifest.json"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror}): name --folder") from error
    try:
        entry = json.loads(data, object_hook=lambda found: Record(**found))
        version = entry.format_version
    except (ValueError, AttributeError) as error:
        raise Damaged(f"{path} is no manifest ({error})") from error
    if version > FORMAT_VERSION:
        raise NewerFormat(f"{path} has format version {version}, not up to {FORMAT_VERSION}")
    if not is_sealed(data):
        raise Damaged(f"{path} has other bytes than its seal is of: it is damaged or was changed")
    if entry.digest_version != DIGEST_VERSION:
        raise NewerFormat(f"{path} has digests of version {entry.digest_version}")
    return entry


def _check(folder: Folder, entry: Any) -> None:
    """Raise Damaged, naming each, unless every object is there, byte for byte."""
    parts = [part for table in entry.tables for part in table.parts]
    objects = [*entry.ddl, *parts]
    elsewhere = _not_copied(folder, entry, parts)
    missing = {key for keys in elsewhere.values() for key in keys}
    problems = _problems(folder, entry, [one for one in objects if one.key not in missing])
    # Somebody may have had to mend this very file; the rows do not depend on it.
    for line in _problems(folder, entry, getattr(entry, "documents", ())):
        print(f"note: {line}", file=sys.stderr)
    if not objects:
        problems.append("the manifest names no objects, so nothing could be checked")
    lacking = [f"{prefix} ({len(keys)} of its objects)" for prefix, keys in elsewhere.items()]
    if problems:
        listed = "\n".join(f"- {problem}" for problem in [*problems, *lacking])
        raise Damaged(f"backup {entry.id} is damaged, nothing was restored:\n{listed}")
    if lacking:
        listed = "\n".join(f"- {line}" for line in lacking)
        raise Refused(
            f"{len(missing)} of its objects lie in other backups' folders: copy these too, under "
            f"the same keys below {folder.uri('')}, or name --store; RECOVERY.md names each "
            f"object:\n{listed}"
        )
    print(f"{len(objects)} objects are whole, by size and sha256")


def _not_copied(folder: Folder, entry: Any, parts: ListOf[Any]) -> dict[str, ListOf[str]]:
    """Keys that are not there, by the folder of the other backup that they lie in."""
    found: dict[str, Any] = {}
    inside, own = backups_prefix(entry.system), backup_prefix(entry.system, entry.id)
    for key in (part.key for part in parts):
        names = key.removeprefix(inside).split("/")
        # What is no key of a backup is said to be none, and is not looked for.
        if key.startswith(own) or not key.startswith(inside) or {"", ".", ".."} & set(names):
            continue
        if not os.path.lexists(folder.uri(key)):
            found.setdefault(f"{inside}{names[0]}/", []).append(key)
    return found


def _problems(folder: Folder, entry: Any, objects: ListOf[Any]) -> list[str]:
    found: list[str] = []
    for one in objects:
        inside = one.key.startswith(backups_prefix(entry.system))
        if not inside or {"", ".", ".."} & set(one.key.split("/")):
            found.append(f"{one.key} is no object of {entry.system}'s backups")
            continue
        try:
            if folder.checksum(one.key) != (one.size_bytes, one.sha256):
                found.append(f"{folder.uri(one.key)} has other bytes than were written")
        except Damaged as error:
            found.append(str(error))
    return found


def _connected(variable: str) -> Any:
    url = os.environ.get(variable, "")
    if not url:
        raise Refused(f"the variable {variable} is not set: set it to the database's URL")
    try:
        conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # Not chained, not quoted: the reason shows what may be the password.
        raise Refused(
            f"the URL in {variable} is malformed: write postgresql://user:password@host:port/"
            "database, with every character of the password but letters and digits as %XX"
        ) from None
    try:
        connect: Any = psycopg.connect
        connection = connect(
            url,
            autocommit=True,
            row_factory=dict_row,
            prepare_threshold=None,
            client_encoding="UTF8",
        )
        connection.execute(query("settings"))
    except psycopg.Error as error:
        raise Failed(f"cannot connect to the database: {' '.join(str(error).split())}") from error
    return connection


def _sealed(entry: Any) -> bool:
    return getattr(entry, "encryption", None) is not None


def _refuse_closed(entry: Any) -> None:
    """Raise Refused unless the identity opens this backup, if it is encrypted."""
    if not _sealed(entry):
        return
    found = decrypt(base64.b64decode(entry.encryption.key_check), f"the key check of {entry.id}")
    if found != entry.id.encode():
        raise Damaged(f"the key check of {entry.id} is another's")
