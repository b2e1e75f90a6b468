"""What a restore makes of the tables that the live database lost: the objects, in their stages."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from psycopg import sql

from backup_pipelines.manifest import ForeignKey, Table
from backup_pipelines.postgres.ddl import Entry
from backup_pipelines.postgres.ddl_subjects import Name


@dataclass(frozen=True)
class Piece:
    """One object of the backup's DDL, and the lost table that it is made for."""

    entry: Entry
    table: str
    is_beside: bool = False
    """It went with the table and is not part of it: a view, or a policy of another table."""
    on_live: bool = False
    """It changes a table that exists, which a plan leaves alone."""
    part_of: Name = ()
    """The view or function beside the table that it is, or belongs to."""

    @property
    def kind(self) -> str:
        """What the object is, in PostgreSQL's words."""
        return self.entry.type.lower().replace("fk constraint", "foreign key")

    @property
    def text(self) -> str:
        """The object as people read it."""
        return f"{self.kind} {self.entry.schema}.{self.entry.name}"


@dataclass(frozen=True)
class BackedKey:
    """A foreign key of the backup that is put back, and its two tables."""

    key: ForeignKey
    table: Name
    references: Name


@dataclass
class Creation:
    """Objects to make, in the order of their stages, and what came of it so far.

    First `tables` with their columns and sequences; after the rows `constraints`, then `attached`;
    after all rows of the selection `keys`; after the proof `last`, `grants` and `security`.
    """

    made: Mapping[str, Table]
    """The tables by their qualified names."""
    tables: tuple[Piece, ...] = ()
    constraints: tuple[Piece, ...] = ()
    attached: tuple[Piece, ...] = ()
    keys: tuple[Piece, ...] = ()
    last: tuple[Piece, ...] = ()
    grants: tuple[Piece, ...] = ()
    security: tuple[Piece, ...] = ()
    views: Mapping[Name, str] = field(default_factory=dict[Name, str])
    """Views that went with the tables, and the table that each went with."""
    functions: Mapping[Name, str] = field(default_factory=dict[Name, str])
    """Functions that return or take their rows, with the types of their arguments."""
    sequences: Mapping[Name, str] = field(default_factory=dict[Name, str])
    backed: tuple[BackedKey, ...] = ()
    """The keys that must hold for the rows of the backup and those that are live."""
    homeless: tuple[ForeignKey, ...] = ()
    """Keys to tables that exist neither now nor after this restore."""
    locks: Mapping[int, sql.Composed] = field(default_factory=dict[int, sql.Composed])
    """Locks on tables outside the selection that keys, policies or rules are added to, by oid."""
    problems: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Why a table cannot be created."""
    warnings: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """What will not be as it was, by the table that it is about."""
    done: list[Piece] = field(default_factory=list[Piece])
    """What was made beside the tables, and exists now."""
    failed: set[Name] = field(default_factory=set[Name])
    """The views and functions that could not be made, so that nothing more is done with them."""

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Everything, in order."""
        return (
            *self.tables,
            *self.constraints,
            *self.attached,
            *self.keys,
            *self.last,
            *self.grants,
            *self.security,
        )

    @property
    def objects(self) -> tuple[str, ...]:
        """What is made, as people read it."""
        return tuple(dict.fromkeys(piece.text for piece in self.pieces))

    @property
    def identity(self) -> list[str]:
        """What is made, to the letter."""
        return [f"{piece.text} {piece.entry.sha256}" for piece in self.pieces]

    @property
    def made_views(self) -> frozenset[Name]:
        """The views of `views` that this restore made."""
        return frozenset(piece.part_of for piece in self.done) & set(self.views)

    @property
    def made_functions(self) -> frozenset[Name]:
        """The functions of `functions` that this restore made."""
        made = {(piece.entry.schema, piece.entry.name) for piece in self.done}
        return frozenset(made & set(self.functions))

    def refuse(self, table: str, why: str) -> None:
        """Remember why a table cannot be created."""
        text = f"{table} does not exist any more and cannot be created: {why}"
        self.problems.setdefault(table, []).append(text)

    def warn(self, table: str, texts: Iterable[str]) -> None:
        """Remember what will not be as it was, each thing once."""
        known = self.warnings.setdefault(table, [])
        known += [text for text in texts if text not in known]
