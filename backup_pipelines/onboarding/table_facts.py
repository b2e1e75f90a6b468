"""What a proposal knows of the tables of a database, and which of them the YAML cannot name."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from backup_pipelines.system import is_pattern

PUBLIC = "public"


@dataclass(frozen=True, order=True)
class TableFacts:
    """What a proposal knows of a table; a partitioned table is one, with all its partitions."""

    schema: str
    name: str
    size_bytes: int = 0
    primary_key: tuple[str, ...] = ()

    @property
    def qualified(self) -> str:
        """`schema.name` without quotes."""
        return f"{self.schema}.{self.name}"

    @property
    def written(self) -> str:
        """The table as the YAML names it: short in public, where that is not ambiguous."""
        short = self.schema == PUBLIC and "." not in self.name
        return self.name if short else self.qualified


@dataclass(frozen=True, order=True)
class Reference:
    """One foreign key, by qualified names."""

    table: str
    references: str
    columns: tuple[str, ...] = ()
    cascades: bool = False


def unwritable(tables: Collection[TableFacts]) -> dict[TableFacts, str]:
    """The tables that the YAML has no way to name, with the reason."""
    times = Counter(table.qualified for table in tables)
    found: dict[TableFacts, str] = {}
    for table in sorted(tables):
        if is_pattern(table.qualified):
            found[table] = "its name has * or ?, which make a pattern"
        elif "." in table.schema:
            found[table] = "its schema has a dot in its name"
        elif times[table.qualified] > 1:
            found[table] = "another schema and table read the same"
    return found
