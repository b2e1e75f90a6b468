"""A system of a few tables, its Dagster definitions, and an instance in memory."""

import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from backup_pipelines import PostgresBackup
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines_tests.dagster_layer import words
from backup_pipelines_tests.fix_postgres import Database, Server

SHOP = System.model_validate(
    {
        "system": "shop",
        "database_url_env": "SHOP_DATABASE_URL",
        "modules": {
            "sales": {"tables": ["orders", "order_lines"], "description": "What was sold."},
            "stock": {"tables": ["stock.items", "stock.bin_*"]},
        },
    }
)

TABLES = """
    CREATE TABLE orders (id int PRIMARY KEY, placed timestamptz NOT NULL, note text);
    CREATE TABLE order_lines (id int PRIMARY KEY, of int REFERENCES orders, price numeric(12,2));
    CREATE SCHEMA stock;
    CREATE TABLE stock.items (id int PRIMARY KEY, name text);
    CREATE TABLE stock.bin_a (id int PRIMARY KEY);
    CREATE TABLE stock.bin_b (id int PRIMARY KEY);
    INSERT INTO orders SELECT i, '2026-01-01', 'x' FROM generate_series(1, 100) i;
    INSERT INTO order_lines SELECT i, i, 1.50 FROM generate_series(1, 50) i;
    INSERT INTO stock.bin_a VALUES (1), (2);
    INSERT INTO stock.bin_b VALUES (3);
"""


class FixedEnvironment(BackupEnvironment):
    """The test's own store and servers."""

    store_url: str
    database_url: str
    owner_url: str
    server_url: str

    def store(self) -> Store:
        return Store(self.store_url)

    @contextmanager
    def source_url(self, system: System) -> Generator[str, None, None]:
        yield self.database_url

    @contextmanager
    def restore_url(self, system: System) -> Generator[str, None, None]:
        yield self.owner_url

    @contextmanager
    def drill_server_url(self, system: System) -> Generator[str, None, None]:
        yield self.server_url


@dataclass
class Shop:
    """The sample system in a test of its own."""

    database: Database
    store: Store
    instance: dg.DagsterInstance
    defs: dg.Definitions

    def run(
        self,
        job: str,
        config: Mapping[str, object] | None = None,
        *,
        assets: list[str] | None = None,
        tags: Mapping[str, str] | None = None,
        partition: str | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run one of the system's jobs to its end."""
        return self.defs.resolve_job_def(job).execute_in_process(
            run_config={
                "ops": {f"{job}_op": {"config": dict(config or {})}},
                "loggers": {"console": {"config": {"log_level": "ERROR"}}},
            },
            instance=self.instance,
            asset_selection=[dg.AssetKey(a.split("/")) for a in assets] if assets else None,
            tags=dict(tags or {}),
            partition_key=partition,
            raise_on_error=False,
        )

    def reexecute(self, job: str, config: Mapping[str, object]) -> str:
        """Why a re-execution of a run with this config has failed, as the UI starts it."""
        definition = self.defs.resolve_job_def(job)
        parent = str(uuid.uuid4())
        run = self.instance.create_run_for_job(
            definition,
            run_config={"ops": {f"{job}_op": {"config": dict(config)}}},
            tags={"dagster/parent_run_id": parent, "dagster/root_run_id": parent},
            parent_run_id=parent,
            root_run_id=parent,
        )
        events = execute_run_iterator(InMemoryJob(definition), run, self.instance)
        [event] = [event for event in events if event.is_step_failure]
        said = event.step_failure_data.user_failure_data
        assert said is not None
        return str(said.description)

    def backup(self) -> str:
        """The id of a new full backup."""
        result = self.run("shop_backup")
        assert result.success
        run = self.instance.get_run_by_id(result.run_id)
        assert run is not None
        return run.tags["backup_pipelines/backup_of_shop"]

    def keys(self, partitions: str) -> set[str]:
        """The ids in one of the system's partition sets, `backups` or `restorable`."""
        return set(self.instance.get_dynamic_partitions(f"shop_{partitions}"))

    def row(self, backup_id: str) -> Mapping[str, object]:
        """The catalog's metadata of a backup."""
        found = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key=dg.AssetKey(["shop", "backups"]), asset_partitions=[backup_id]
            ),
            limit=1,
        )
        event = found.records[0].asset_materialization
        assert event is not None
        return {name: value.value for name, value in event.metadata.items()}


@pytest.fixture
def shop(
    server: EmbeddedServer, make_database: Callable[[Server], Database], store: Store
) -> Iterator[Shop]:
    """The sample system over a real database."""
    database = make_database(server)
    database.run(TABLES)
    environment = FixedEnvironment(
        store_url=store.url,
        database_url=database.reader_url,
        owner_url=database.owner_url,
        server_url=server.url(),
    )
    defs = dg.Definitions.merge(
        dg.build_defs_for_component(PostgresBackup(SHOP)),
        dg.Definitions(resources={"backup_environment": environment}),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        yield Shop(database, store, instance, defs)
        # Whatever a test has done, all that Dagster shows of it is for people.
        assert words.problems(instance) == []
