"""Restores without Dagster: a database, its backups, and what must be equal before and after."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from backup_pipelines import modules
from backup_pipelines.backup import BackupRequest, take_backup
from backup_pipelines.backup_id import BackupId
from backup_pipelines.exporting import export, reuse
from backup_pipelines.layout import Format
from backup_pipelines.manifest import Manifest
from backup_pipelines.plan import Plan, plan_restore
from backup_pipelines.postgres.comparison import Mode
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.digest import live_digest
from backup_pipelines.postgres.guards import constraint_state
from backup_pipelines.postgres.introspect import list_sequences, list_tables, with_columns
from backup_pipelines.restore import LiveRestore, LiveRestored, restore
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.undo import last_safety_backup
from backup_pipelines_tests.fix_backup import back_up, ignore, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server

EVERYTHING = Selection()

# Set SOAK_SEED to see other cases; docs/soak.md has the seed of the last campaign.
SOAK_SEED = int(os.environ.get("SOAK_SEED", "20261122"))


@dataclass(frozen=True)
class Image:
    """All that a failed restore must leave as it was."""

    digests: dict[str, tuple[int, str]]
    constraints: tuple[str, ...]
    sequences: dict[str, tuple[int, bool]]


@dataclass
class Site:
    """One live database with its store; restores run as its plain owner."""

    database: Database
    store: Store
    system: System = field(default_factory=whole_system)

    def run(self, *statements: str) -> None:
        """Run statements as the owner, each in a transaction of its own."""
        self.database.run(*statements)

    def run_as_admin(self, *statements: str) -> None:
        """Run statements as a superuser."""
        self.database.run(*statements, as_admin=True)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds, as the superuser, whom no policy hides anything from."""
        with psycopg.connect(self.database.admin_url) as connection:
            return connection.execute(query.encode()).fetchall()

    def write_as(self, format: Format) -> None:
        """Let backups from now on have their rows in this format."""
        self.system = self.system.model_copy(update={"format": format})

    def back_up(self) -> Manifest:
        """A sealed backup of everything."""
        return back_up(self.database.reader_url, self.store, self.system)

    def safety(self, roots: frozenset[str]) -> Manifest:
        """The safety backup of some tables."""
        request = BackupRequest(
            system=self.system,
            id=BackupId.new("safety", datetime.now(UTC)),
            type="safety",
            created_by="test",
            selection=frozenset(modules.entries(self.system)),
            only=roots,
        )
        *_, sealed = take_backup(request, self.database.reader_url, self.store)
        assert isinstance(sealed, Manifest)
        return sealed

    def plan(
        self, entry: Manifest, selection: Selection = EVERYTHING, mode: Mode = "replace"
    ) -> Plan:
        """The plan of a restore."""
        return plan_restore(
            self.store,
            entry,
            self.database.owner_url,
            selection=selection,
            mode=mode,
            report=ignore,
        )

    def restore(
        self,
        entry: Manifest,
        selection: Selection = EVERYTHING,
        mode: Mode = "replace",
        *,
        report: Callable[[str], None] = ignore,
        with_safety: bool = False,
        url: str = "",
        **more: Any,
    ) -> LiveRestored:
        """Restore, with a safety backup first where the test undoes it."""
        return restore(
            LiveRestore(entry, selection, mode, **more),
            url or self.database.owner_url,
            self.store,
            safety=self.safety if with_safety else None,
            report=report,
        )

    def undo(self) -> LiveRestored:
        """Take the last restore back."""
        return self.restore(last_safety_backup(self.store, self.system.system), with_safety=True)

    def digests(self) -> dict[str, tuple[int, str]]:
        """Rows and digest of every table."""
        with connected(self.database.admin_url) as connection:
            tables = with_columns(connection, list_tables(connection))
            return {t.qualified: live_digest(connection, t) for t in tables}

    def image(self) -> Image:
        """Everything that is compared before and after."""
        with connected(self.database.admin_url) as connection:
            sequences = list_sequences(connection)
            constraints = constraint_state(connection)
        positions = {f"{s.schema_name}.{s.name}": (s.last_value, s.is_called) for s in sequences}
        return Image(self.digests(), constraints, positions)

    def counts(self, plan: Plan) -> dict[str, tuple[int, int, int]]:
        """Inserts, updates and deletes of the tables that a plan changes, without `public.`."""
        return {
            t.table.removeprefix("public."): (t.insert, t.update, t.delete)
            for t in plan.tables
            if t.insert or t.update or t.delete
        }


MakeSite = Callable[..., Site]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables have ranges of some hundred rows, and those of 64 KB may be named again."""
    monkeypatch.setattr(export, "_PIECE_BYTES", 256 * 1024)
    monkeypatch.setattr(reuse, "WORTH_BYTES", 64 * 1024)


@pytest.fixture
def make_site(make_database: Callable[[Server], Database], store: Store) -> MakeSite:
    """Makes an empty database on a server and runs statements in it as its owner."""

    def make(on: Server, *statements: str, as_admin: tuple[str, ...] = ()) -> Site:
        site = Site(make_database(on), store)
        site.run_as_admin(*as_admin)
        site.run(*statements)
        return site

    return make
