"""What Dagster's pages offer to each role; what is not offered is greyed out, with the reason."""

from collections.abc import Mapping

from dagster._core.workspace.permissions import (
    EDITOR_PERMISSIONS,
    LOCATION_SCOPED_PERMISSIONS,
    PermissionResult,
    Permissions,
)

from backup_pipelines.access.roles import Role
from backup_pipelines.webserver.people import Standing

_OPERATORS = frozenset(
    {
        Permissions.LAUNCH_PIPELINE_EXECUTION,
        Permissions.LAUNCH_PIPELINE_REEXECUTION,
        Permissions.TERMINATE_PIPELINE_EXECUTION,
    }
)

# What nobody may while roles are asked for in any system; mutations.py says why.
_NOBODYS = frozenset({Permissions.WIPE_ASSETS, Permissions.LAUNCH_PARTITION_BACKFILL})


def permissions(standing: Standing) -> Mapping[str, PermissionResult]:
    """Every permission that Dagster knows, and whether somebody has it in any system."""
    return {
        permission: PermissionResult(enabled=not reason, disabled_reason=reason or None)
        for permission in Permissions
        for reason in (_reason(permission, standing),)
    }


def permissions_of_location(standing: Standing) -> Mapping[str, PermissionResult]:
    """Those that Dagster asks for by code location."""
    return {
        permission: result
        for permission, result in permissions(standing).items()
        if permission in LOCATION_SCOPED_PERMISSIONS
    }


def _reason(permission: Permissions, standing: Standing) -> str:
    """Why somebody may not; empty where they may."""
    # A permission of a later Dagster is nobody's.
    if not EDITOR_PERMISSIONS.get(permission, False):
        return "Dagster's open-source version has this for nobody"
    if standing.enforced and permission in _NOBODYS:
        return "Nobody may while access is enforced"
    least = Role.OPERATOR if permission in _OPERATORS else Role.ADMIN
    if standing.highest >= least:
        return ""
    return f"Your role is {standing.highest}; this needs {least}"
