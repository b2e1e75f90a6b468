"""The demo's databases on the embedded server: the systems', and Dagster's own."""

from pathlib import Path

import psycopg
from psycopg import sql

from backup_pipelines.demo.seed import SYSTEMS, create_database
from backup_pipelines.demo.server import EmbeddedServer

_DAGSTER = "dagster"


class Demo:
    """The embedded server of one home folder, and the databases on it."""

    def __init__(self, home: Path) -> None:
        """Name the home folder; nothing is started yet."""
        self.server = EmbeddedServer(home / ".demo" / "postgres")

    def has(self, system: str) -> bool:
        """Whether the demo has a database for this system."""
        return system in SYSTEMS

    def ensure_system(self, system: str) -> None:
        """Create and fill the system's database where it does not exist; the server must be up."""
        create_database(self.server.url, system)

    def ensure_dagster(self) -> None:
        """Create Dagster's own database where it does not exist; the server must be up."""
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as admin:
            role, database = sql.Identifier(_DAGSTER), sql.Identifier(_DAGSTER)
            found = "SELECT FROM pg_catalog.pg_roles WHERE rolname = %s"
            if not admin.execute(found, [_DAGSTER]).rowcount:
                admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            found = "SELECT FROM pg_catalog.pg_database WHERE datname = %s"
            if not admin.execute(found, [_DAGSTER]).rowcount:
                admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))

    def reader_url(self, system: str) -> str:
        """The URL that backups read by: a role that sees every row and changes none."""
        return self.server.url(system, f"{system}_backup")

    def owner_url(self, system: str) -> str:
        """The URL of the application's own role."""
        return self.server.url(system, f"{system}_owner")

    def dagster_url(self) -> str:
        """The URL of Dagster's own database."""
        return self.server.url(_DAGSTER, _DAGSTER)

    def admin_url(self) -> str:
        """The URL of the superuser, for scratch databases."""
        return self.server.url("postgres")
