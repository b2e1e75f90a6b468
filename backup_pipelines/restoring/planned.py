"""The records of a plan: what a restore would do to every table, and what stands against it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from backup_pipelines.errors import Refused
from backup_pipelines.postgres.comparison import Mode
from backup_pipelines.postgres.consequences import Consequence
from backup_pipelines.restoring.creation import Creation


@dataclass(frozen=True)
class TablePlan:
    """What a restore would do to one table."""

    table: str
    module: str
    insert: int
    update: int
    delete: int
    unchanged: int
    changed_columns: Mapping[str, int]
    warnings: tuple[str, ...]
    refused: tuple[str, ...]
    creates: bool = False
    """The table does not exist any more and is created."""


@dataclass(frozen=True)
class Plan:
    """What a restore would do; its hash changes when the backup, the request or live data does."""

    backup_id: str
    mode: Mode
    selection: str
    tables: tuple[TablePlan, ...]
    consequences: tuple[Consequence, ...]
    hash: str
    estimated_seconds: float = 0.0
    objects: tuple[str, ...] = ()
    """What is created with the tables that do not exist any more, those included."""

    @property
    def refused(self) -> tuple[str, ...]:
        """Everything that stands against this restore."""
        problems = [text for table in self.tables for text in table.refused]
        return (*problems, *(c.text for c in self.consequences))

    @property
    def closure(self) -> tuple[str, ...]:
        """The tables whose addition to the selection would settle the consequences."""
        return tuple(sorted({c.add for c in self.consequences if c.add}))

    @property
    def rows(self) -> int:
        """How many rows would be written or deleted."""
        return sum(t.insert + t.update + t.delete for t in self.tables)

    @property
    def created(self) -> tuple[str, ...]:
        """The tables that are created."""
        return tuple(table.table for table in self.tables if table.creates)


def refuse_impossible(plan: Plan, what: str = "restore") -> None:
    """Raise Refused with everything that stands against the plan, and what would settle it."""
    if not plan.refused:
        return
    listed = "\n".join(f"- {problem}" for problem in plan.refused)
    advice = f"\nadd to the selection: {', '.join(plan.closure)}" if plan.closure else ""
    raise Refused(f"this {what} cannot be done; nothing was changed:\n{listed}{advice}")


def with_warnings(plan: Plan, creation: Creation | None) -> Plan:
    """The plan with what turned out while tables were created."""
    if creation is None:
        return plan
    tables = (
        replace(
            table,
            warnings=tuple(
                dict.fromkeys((*table.warnings, *creation.warnings.get(table.table, ())))
            ),
        )
        for table in plan.tables
    )
    return replace(plan, tables=tuple(tables))
