"""The outside world as the ops see it: one resource, so that a test can give them another."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from backup_pipelines.system import System

if TYPE_CHECKING:
    from backup_pipelines.storage.store import Store


class BackupEnvironment(dg.ConfigurableResource[None]):
    """The store and the servers, found by environment variables when an op asks for them."""

    def store(self) -> "Store":
        """The object store of BACKUP_STORE_URL, or the demo's folder."""
        from backup_pipelines import environment

        return environment.store()

    @contextmanager
    def source_url(self, system: System) -> Generator[str, None, None]:
        """The URL of the database to back up, its embedded server running if it has one."""
        from backup_pipelines import environment

        with environment.source_url(system) as url:
            yield url

    @contextmanager
    def restore_url(self, system: System) -> Generator[str, None, None]:
        """The URL that a restore of the system's database writes by: the owner of the tables."""
        from backup_pipelines import environment

        with environment.restore_url(system) as url:
            yield url

    @contextmanager
    def drill_server_url(self, system: System) -> Generator[str, None, None]:
        """The URL of a server on which scratch databases may be created."""
        from backup_pipelines import environment

        with environment.drill_server_url(system) as url:
            yield url
