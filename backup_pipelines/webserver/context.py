"""Dagster's context of a request, with who sent it: its permissions are that person's."""

from collections.abc import Mapping
from typing import Any

from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.permissions import PermissionResult

from backup_pipelines.access.identity import Identity
from backup_pipelines.webserver import permissions
from backup_pipelines.webserver.gate import identity_of
from backup_pipelines.webserver.people import NOBODY, People, Standing


class SignedInRequestContext(WorkspaceRequestContext):
    """The context of a request that came through the gate."""

    def __init__(
        self, people: People, identity: Identity | None, standing: Standing, **others: Any
    ) -> None:
        super().__init__(**others)
        self.people = people
        self.identity = identity
        self.standing = standing
        # Pages ask for those of each asset.
        self._may = permissions.permissions(standing)
        self._may_in_locations = permissions.permissions_of_location(standing)

    @property
    def permissions(self) -> Mapping[str, PermissionResult]:
        """What whoever sent the request may do in any system."""
        return self._may

    def permissions_for_location(self, *, location_name: str) -> Mapping[str, PermissionResult]:
        """The same for every code location: roles are of systems."""
        del location_name
        return self._may_in_locations


class SignedInProcessContext(WorkspaceProcessContext):
    """Dagster's context of the server, which makes those of the requests."""

    people: People

    def create_request_context(self, source: object | None = None) -> SignedInRequestContext:
        """The context of a request; one that did not come through the gate is nobody's."""
        identity = identity_of(getattr(source, "scope", None))
        return SignedInRequestContext(
            self.people,
            identity,
            NOBODY if identity is None else self.people.standing(identity),
            instance=self.instance,
            current_workspace=self.get_current_workspace(),
            process_context=self,
            version=self.version,
            source=source,
            read_only=False,
        )
