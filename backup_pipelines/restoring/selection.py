"""What of a backup a plan or a restore is about: everything, modules, tables, or one record."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.manifest import ForeignKey, Manifest, Table
from backup_pipelines.system import qualify


@dataclass(frozen=True)
class Selection:
    """Modules and tables by name; nothing named means everything that the backup holds.

    With `key`, the primary key of one record of the one table as people write it (several columns
    separated by commas), and, `with_children`, the rows that referenced it, and those that
    referenced them, in the backup.
    """

    modules: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    key: str | None = None
    with_children: bool = False

    @property
    def is_everything(self) -> bool:
        """Whether nothing was named."""
        return not self.modules and not self.tables

    @property
    def record(self) -> str | None:
        """The qualified name of the table whose record is wanted, if it is about one."""
        return qualify(self.tables[0]) if self.key is not None and self.tables else None

    def __str__(self) -> str:
        if self.key is not None:
            children = " with what referenced it" if self.with_children else ""
            return f"record {self.key} of {', '.join(self.tables)}{children}"
        if self.is_everything:
            return "everything"
        parts = [f"modules {', '.join(self.modules)}"] if self.modules else []
        parts += [f"tables {', '.join(self.tables)}"] if self.tables else []
        return " and ".join(parts)


def select(entry: Manifest, selection: Selection) -> tuple[Table, ...]:
    """The tables of the backup that are selected, partitions with their root.

    Raises NotFound, saying what there is, for a module or table that the backup does not hold, and
    Refused for a key that is not of exactly one table.
    """
    _refuse_misused_key(selection)
    if selection.is_everything:
        return entry.tables
    modules = {table.module for table in entry.tables}
    names = {table.qualified for table in entry.tables}
    wanted = {qualify(table) for table in selection.tables}
    problems = _unknown("module", selection.modules, modules)
    problems += _unknown("table", sorted(wanted), names)
    if problems:
        raise NotFound(f"backup {entry.id} {' and '.join(problems)}")
    if selection.with_children:
        wanted |= _referencing(wanted, entry.foreign_keys)
    return tuple(
        table
        for table in entry.tables
        if table.module in selection.modules
        or table.qualified in wanted
        or table.partition_of in wanted
    )


def _refuse_misused_key(selection: Selection) -> None:
    if selection.key is None:
        if selection.with_children:
            raise Refused("children can be restored with one record only: name its key")
        return
    if len(selection.tables) != 1 or selection.modules:
        raise Refused("a record is found by its key in exactly one table: name that one")


def _referencing(tables: Iterable[str], foreign_keys: Sequence[ForeignKey]) -> set[str]:
    """The tables, and all that reference them through any number of foreign keys."""
    found = set(tables)
    while True:
        more = {k.table for k in foreign_keys if k.references in found and k.table not in found}
        if not more:
            return found
        found |= more


def _unknown(what: str, named: Sequence[str], known: set[str]) -> list[str]:
    unknown = [name for name in named if name not in known]
    if not unknown:
        return []
    return [f"holds no {what} {', '.join(unknown)} (its {what}s are {', '.join(sorted(known))})"]
