"""Which role somebody has in a system, and whether it is enough; in doubt it is not.

The launch, the op itself and the command line all ask here.
"""

from collections.abc import Mapping

from backup_pipelines.access.identity import Identity, spelled
from backup_pipelines.access.roles import AUTOMATIC, Role, needed
from backup_pipelines.errors import NotAllowed
from backup_pipelines.settings_access import EVERYONE
from backup_pipelines.system import System


def role_of(system: System, identity: Identity | None) -> Role:
    """The role of somebody, or of nobody that is known; where access is open, everybody's is admin.

    Raises Refused when the roles are in a table that cannot be asked.
    """
    if system.access == "open":
        return Role.ADMIN
    if identity is None:
        return Role.NOBODY
    listed = _listed(system, identity)
    if listed is Role.ADMIN or system.roles_from is None or identity.via != "token":
        return listed
    from backup_pipelines.access.role_table import role_in_table

    return max(listed, role_in_table(system, system.roles_from, identity.subject))


def require(system: System, operation: str, identity: Identity | None) -> None:
    """Raise NotAllowed unless somebody may do the operation with the system's backups.

    Raises Refused when it cannot be told.
    """
    if system.access == "open":
        return
    if identity is None:
        raise NotAllowed(
            f"access to {system.system} is enforced, and nobody has signed for this {operation}: "
            "sign in and start it again"
        )
    if identity.via == "schedule":
        if operation not in AUTOMATIC:
            raise NotAllowed(f"no schedule and no sensor may do a {operation}: a person must")
        return
    role, least = role_of(system, identity), needed(operation)
    if role < least:
        raise NotAllowed(too_little(system, identity, role, operation, least))


def enforced(found: Mapping[str, System]) -> list[str]:
    """The systems whose roles are asked for."""
    return sorted(name for name, system in found.items() if system.access == "enforced")


def too_little(system: System, identity: Identity, role: Role, operation: str, least: Role) -> str:
    """The sentence for whoever has a role that is not enough."""
    return (
        f"{identity.name} is {_said(role)} of {system.system}, and {operation} needs "
        f"{_said(least)}: ask {_admins(system)}"
    )


def _listed(system: System, identity: Identity) -> Role:
    """The role that the lists of the YAML give."""
    name = spelled(identity.name)
    ranked = (
        (Role.ADMIN, system.admins),
        (Role.OPERATOR, system.operators),
        (Role.VIEWER, system.viewers),
    )
    for role, names in ranked:
        known = set(map(spelled, names))
        if name in known or EVERYONE in known:
            return role
    return Role.NOBODY


def _said(role: Role) -> str:
    if role is Role.NOBODY:
        return "nobody"
    return f"an {role}" if role in (Role.ADMIN, Role.OPERATOR) else f"a {role}"


def _admins(system: System) -> str:
    return " or ".join(system.admins)
