"""The outside world as the ops see it: one resource, so that a test can give them another."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import PrivateAttr

from backup_pipelines.dagster_layer.config import StoreChoice
from backup_pipelines.errors import Refused
from backup_pipelines.system import System

if TYPE_CHECKING:
    from backup_pipelines.storage.store import Store


class BackupEnvironment(dg.ConfigurableResource[None]):
    """The store and the servers, found by environment variables when an op asks for them."""

    def store(self) -> "Store":
        """The object store of BACKUP_STORE_URL, or the demo's folder."""
        from backup_pipelines import environment

        return environment.store()

    def store_of_records(self) -> "Store":
        """The object store that the audit records go to."""
        return self.store()

    @property
    def which(self) -> StoreChoice:
        """Which store it is that `store` gives."""
        return StoreChoice.first

    def second_url(self, system: System) -> str:
        """The URL of the system's second store; raises Refused where there is none."""
        from backup_pipelines import environment

        return environment.second_url(system)

    def second_store(self, system: System) -> "Store":
        """The object store that the system's backups are copied to; raises Refused."""
        from backup_pipelines import environment

        return environment.second_store(system)

    def at(self, system: System, which: StoreChoice) -> "BackupEnvironment":
        """The same world, with the second store in the place of the first if that is chosen."""
        if which is StoreChoice.first:
            return self
        return _AtSecond().of(self, system)

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


# Dagster merges definitions only if they have the very same object under the same name.
USUAL_WORLD = BackupEnvironment()


class _AtSecond(BackupEnvironment):
    """A world whose store is the second one of a system; `store` raises Refused without one."""

    # Dagster would take a resource's own type for a field.
    _of: Any = PrivateAttr()
    _system: Any = PrivateAttr()

    def of(self, usual: BackupEnvironment, system: System) -> "BackupEnvironment":
        """This, of that world and that system."""
        self._of, self._system = usual, system
        return self

    def store(self) -> "Store":
        return self._of.second_store(self._system)

    def store_of_records(self) -> "Store":
        try:
            return self.store()
        except Refused:
            # That there is no second store must be told somewhere.
            return self._of.store()

    @property
    def which(self) -> StoreChoice:
        return StoreChoice.second

    @contextmanager
    def source_url(self, system: System) -> Generator[str, None, None]:
        with self._of.source_url(system) as url:
            yield url

    @contextmanager
    def restore_url(self, system: System) -> Generator[str, None, None]:
        with self._of.restore_url(system) as url:
            yield url

    @contextmanager
    def drill_server_url(self, system: System) -> Generator[str, None, None]:
        with self._of.drill_server_url(system) as url:
            yield url
