"""What the builders of all modules share: chance, names, the next keys, the rows made so far."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from uuid import UUID

from backup_pipelines.demo.crm import pools
from backup_pipelines.demo.crm.columns import COLUMNS
from backup_pipelines.demo.crm.dice import Dice
from backup_pipelines.demo.crm.pools import Company, Region
from backup_pipelines.demo.rows import TableRows

Row = tuple[object, ...]
_DAYS = ("Monday", "Tuesday", "Thursday", "Friday", "15 March", "2 May", "end of June", "1 October")


@dataclass(frozen=True)
class Product:
    """What a deal needs to know of a product."""

    id: int
    name: str
    cents: int


@dataclass(frozen=True)
class Contact:
    """What other modules need to know of a contact."""

    id: int
    first_name: str
    last_name: str
    email: str
    phone: str
    created_at: datetime


@dataclass(frozen=True)
class Account:
    """What other modules need to know of an account."""

    id: int
    company: Company
    region: Region
    owner: UUID
    created_at: datetime
    contacts: list[Contact]


@dataclass(frozen=True)
class Deal:
    """What other modules need to know of a deal; it ends when it is closed, else never."""

    id: int
    contact: Contact | None
    owner: UUID
    created_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True)
class Meeting:
    """What a task needs to know of a meeting."""

    id: UUID
    deal: Deal | None
    starts_at: datetime


@dataclass
class World:
    """One run of the generator.

    Every throw comes from one dice in one order: that is all determinism takes.
    """

    seed: int
    users: list[UUID] = field(default_factory=list[UUID])
    products: list[Product] = field(default_factory=list[Product])

    def __post_init__(self) -> None:
        self.dice = Dice(self.seed)
        self.pools = pools.build(self.seed)
        self._keys = {table: count(1) for table in COLUMNS}
        self._rows: dict[str, list[Row]] = {table: [] for table in COLUMNS}

    def key(self, table: str) -> int:
        """The next number for a table whose keys are numbers."""
        return next(self._keys[table])

    def add(self, table: str, *values: object) -> None:
        """Another row."""
        self._rows[table].append(values)

    def drain(self) -> Iterator[TableRows]:
        """The rows made since the last time, table by table; they are forgotten here."""
        rows, self._rows = self._rows, {table: [] for table in COLUMNS}
        for table, made in rows.items():
            if made:
                yield TableRows(f"public.{table}", COLUMNS[table], made)

    def phrase(self, templates: tuple[str, ...], name: str) -> str:
        """One of the phrases with its slots filled."""
        return self.fill(self.dice.pick(templates), name)

    def fill(self, template: str, name: str) -> str:
        """The phrase with its slots filled."""
        if "{" not in template:
            return template
        amount = self.dice.amount_in_cents() // 100
        product = self.dice.pick(self.products).name
        day = self.dice.pick(_DAYS)
        return template.format(name=name, product=product, amount=f"€ {amount:,}", day=day)

    def text(self, templates: tuple[str, ...], name: str, most: int) -> str:
        """One to `most` phrases, now and then in paragraphs."""
        gap = "\n\n" if self.dice.chance(0.15) else " "
        chosen = self.dice.sample(templates, self.dice.integer(1, most))
        return gap.join(self.fill(template, name) for template in chosen)
