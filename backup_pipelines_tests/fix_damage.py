"""A small but complete backup whose objects a test damages, and what must then be said of them."""

import json
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pyrage
import pytest

from backup_pipelines import catalog, layout
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import BackupError, Damaged, NewerFormat, NotFound
from backup_pipelines.manifest import Manifest
from backup_pipelines.plan import plan_restore
from backup_pipelines.restore import LiveRestore, restore, restore_into_empty
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.verify import verify
from backup_pipelines_tests.fix_backup import back_up, ignore, whole_system

_SCHEMA = """
CREATE SEQUENCE ticket START 7;
CREATE FUNCTION half(n integer) RETURNS integer LANGUAGE sql IMMUTABLE RETURN n / 2;
CREATE TABLE places (id integer PRIMARY KEY, name text NOT NULL, halves integer DEFAULT half(8));
INSERT INTO places SELECT g, 'place ' || g FROM generate_series(1, 9) g;
CREATE TABLE events (at date, place integer REFERENCES places, price numeric(8, 2), tags text[])
  PARTITION BY RANGE (at);
CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE events_new PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO events SELECT date '2025-07-01' + g * 40, g, g * 1.25, '{a,b}'
  FROM generate_series(1, 9) g;
CREATE MATERIALIZED VIEW totals AS SELECT place, sum(price) AS total FROM events GROUP BY place;
SELECT nextval('ticket');
"""

# All objects of a second backup differ from those of the first.
_LATER = """
INSERT INTO places VALUES (10, 'place 10');
INSERT INTO events VALUES ('2025-01-02', 10, 1, NULL), ('2026-01-02', 10, 2, NULL);
CREATE FUNCTION third(n integer) RETURNS integer LANGUAGE sql IMMUTABLE RETURN n / 3;
CREATE INDEX ON places (name);
"""

# Nobody listens on this port: had restore or plan looked at their database before they found the
# damage, they would have failed for that reason.
_NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@dataclass(frozen=True)
class Victim:
    """Two backups in a folder, the first of them to be damaged, and an empty database."""

    store: Store
    folder: Path
    entry: Manifest
    other: Manifest
    target: str

    @property
    def manifest(self) -> str:
        """The key of the manifest."""
        return layout.manifest_key(self.entry.system, self.entry.id)

    @property
    def keys(self) -> list[str]:
        """The keys of all objects that make the backup; `started.json` is for people only."""
        parts = [part.key for table in self.entry.tables for part in table.parts]
        beside = [one.key for one in (*self.entry.ddl, *self.entry.documents)]
        return sorted([self.manifest, *beside, *parts])

    @property
    def documents(self) -> list[str]:
        """The keys of what is for people: no program of ours reads it, verify alone looks at it."""
        return [document.key for document in self.entry.documents]

    def read(self, key: str) -> bytes:
        """An object as it is."""
        return (self.folder / key).read_bytes()

    def document(self) -> Any:
        """The manifest."""
        return json.loads(self.read(self.manifest))

    @contextmanager
    def changed(self, objects: Mapping[str, bytes | None]) -> Generator[None]:
        """Other bytes under these keys, or no object, for as long as the block takes."""
        before = {key: self.read(key) for key in objects}
        try:
            for key, data in objects.items():
                path = self.folder / key
                path.unlink() if data is None else path.write_bytes(data)
            yield
        finally:
            for key, data in before.items():
                (self.folder / key).write_bytes(data)

    def assert_found(self, *names: str) -> None:
        """Verify, restore and plan say that something of this name is damaged, and do no more."""
        for verb in (self._verify, self._restore, self._plan):
            with pytest.raises(BackupError) as caught:
                verb()
            assert isinstance(caught.value, (Damaged, NewerFormat, NotFound)), caught.value
            for name in names:
                assert name in str(caught.value)

    def assert_not_restored(self, *names: str) -> None:
        """A restore into an empty database refuses, and the database stays empty."""
        with pytest.raises((Damaged, NewerFormat, NotFound)) as caught:
            restore_into_empty(self.store, self.load(), self.target, report=ignore)
        for name in names:
            assert name in str(caught.value)
        self.assert_empty()

    def assert_empty(self) -> None:
        """The empty database still is."""
        with psycopg.connect(self.target) as connection:
            made = connection.execute(
                "SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                " UNION ALL SELECT FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            )
            assert made.rowcount == 0

    def is_found(self) -> bool:
        """Whether a verification finds anything wrong."""
        try:
            self._verify()
        except (Damaged, NewerFormat):
            return True
        return False

    def load(self) -> Manifest:
        """The backup as it is named now."""
        return catalog.load(self.store, self.entry.system, self.entry.id)

    def _verify(self) -> None:
        verify(self.store, self.load(), report=ignore)

    def _restore(self) -> None:
        request = LiveRestore(self.load())
        restore(request, _NOWHERE, self.store, safety=None, report=ignore)

    def _plan(self) -> None:
        plan_restore(
            self.store,
            self.load(),
            _NOWHERE,
            selection=Selection(),
            mode="replace",
            report=ignore,
        )


@pytest.fixture(scope="module")
def victim(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[Victim]:
    """Two backups of one small database: everything a backup can hold, in few bytes."""
    with _backed_up(server, tmp_path_factory, whole_system()) as victim:
        yield victim


@pytest.fixture(scope="module")
def encrypted_victim(
    server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Victim]:
    """The same, encrypted to somebody whose identity nobody has."""
    public = str(pyrage.x25519.Identity.generate().to_public())
    encryption = EncryptionSpec(recipients=[public])
    system = whole_system().model_copy(update={"encryption": encryption})
    with _backed_up(server, tmp_path_factory, system) as victim:
        yield victim


@contextmanager
def _backed_up(
    server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory, system: System
) -> Generator[Victim]:
    folder, name = tmp_path_factory.mktemp("damage"), f"t_{secrets.token_hex(6)}"
    store, empty = Store(folder.as_uri()), f"{name}_empty"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        for each in (name, empty):
            admin.execute(f"CREATE DATABASE {each} TEMPLATE template0".encode())
        made: list[Manifest] = []
        for statements in (_SCHEMA, _LATER):
            with psycopg.connect(server.url(name), autocommit=True) as connection:
                connection.execute(statements.encode())
            made.append(back_up(server.url(name), store, system))
        yield Victim(store, folder, *made, server.url(empty))
        for each in (name, empty):
            admin.execute(f"DROP DATABASE {each} WITH (FORCE)".encode())
