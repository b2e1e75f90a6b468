"""The three roles, and which of them each operation needs."""

from collections.abc import Mapping
from enum import IntEnum


class Role(IntEnum):
    """What somebody is in one system; each may do what those before it may."""

    NOBODY = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()


_OPERATORS = (
    "backup",
    "verify",
    "drill",
    "health",
    "modules",
    "plan",
    "pin",
    "reconcile",
    "copy",
    "csv_template",
    "csv_plan",
)

# Everything that shows rows to whoever asks, writes them somewhere, or removes a backup: an
# admin's, as is what lets retention remove more.
_ADMINS = (
    "restore",
    "restore_into",
    "undo",
    "request",
    "csv_import",
    "delete",
    "prune",
    "unpin",
    "acknowledge",
    "upload",
    "reencrypt",
    "catalog_rebuild",
    "query",
    "history",
    "diff",
    "download",
    "link",
    "csv_export",
    "schedule",
)

NEEDS: Mapping[str, Role] = {
    **dict.fromkeys(_OPERATORS, Role.OPERATOR),
    **dict.fromkeys(_ADMINS, Role.ADMIN),
}
"""The least role for each operation; what is not named needs an admin."""

AUTOMATIC = frozenset(
    {"backup", "verify", "drill", "health", "modules", "reconcile", "copy", "prune", "request"}
)
"""What schedules and sensors launch by themselves; the YAML has switched each of them on.

A request of the application is signed, and whoever it names needs the role for what it asks.
"""


def needed(operation: str) -> Role:
    """The least role that may do it."""
    return NEEDS.get(operation, Role.ADMIN)
