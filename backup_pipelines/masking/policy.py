"""A system's masking rules held against a backup or a live database: who gets which mask.

Everything that cannot be is refused here, all of it at once, before a row is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from backup_pipelines.errors import Refused
from backup_pipelines.manifest import ForeignKey
from backup_pipelines.masking.column_masks import mask_of
from backup_pipelines.masking.facts import Facts, TableFacts
from backup_pipelines.masking.values import ColumnMask
from backup_pipelines.settings_masking import ALL_OTHERS, MaskingSpec
from backup_pipelines.system import System, qualify

_SHOWN = 5

_Place = tuple[str, str]
"""A table and one of its columns."""


@dataclass(frozen=True)
class Policy:
    """The masks of a backup, or of a live database."""

    masks: Mapping[str, Mapping[str, ColumnMask]]
    """By qualified table, never a partition, its masked columns."""
    partitions: Mapping[str, str]
    undecided: int
    """How many columns are kept because nothing is said of them."""

    def of(self, table: str) -> Mapping[str, ColumnMask]:
        """The masks of a table's columns; a partition has those of its root."""
        return self.masks.get(self.partitions.get(table, table), {})

    @property
    def in_words(self) -> dict[str, str]:
        """Each masked column, as schema.table.column, with what becomes of it."""
        return {
            f"{table}.{column}": mask.in_words
            for table, masks in sorted(self.masks.items())
            for column, mask in masks.items()
        }


def spec_of(system: System) -> MaskingSpec:
    """The rules of a system; raises Refused where there are none."""
    if system.masking is None:
        raise Refused(
            f"{system.system} has no rules for masked copies: write them under masking in "
            f"defs/{system.system}/defs.yaml"
        )
    return system.masking


def make_policy(spec: MaskingSpec, facts: Facts) -> Policy:
    """The masks by the rules; raises Refused with everything that is wrong, a line each."""
    problems = _unknown(spec, facts)
    masks: dict[str, dict[str, ColumnMask]] = {}
    undecided: list[str] = []
    marked = _marked(facts)
    for name, table in facts.tables.items():
        rules = spec.rules_of(name)
        masks[name] = {}
        for column in table.columns.values():
            if column.name not in rules and ALL_OTHERS not in rules and not column.generated:
                undecided.append(f"{name}.{column.name}")
            rule = rules.get(column.name, "keep")
            mask = mask_of(rule, column, marked=(name, column.name) in marked)
            if isinstance(mask, str):
                problems.append(f"{name}.{column.name} cannot be {rule}: {mask}")
            elif mask is not None:
                masks[name][column.name] = mask
        problems += _open_in_heirs(name, table, spec, facts)
    if spec.undecided == "refuse" and undecided:
        problems.append(_not_decided(undecided))
    problems += [text for key in facts.foreign_keys for text in _unlike(key, masks, facts)]
    if not problems and not any(masks.values()):
        problems.append(f"the rules mask nothing of {facts.what}: leave --masked out")
    if problems:
        raise Refused("\n".join(dict.fromkeys(f"masking: {text}" for text in problems)))
    found = {name: of_table for name, of_table in masks.items() if of_table}
    return Policy(found, facts.partitions, len(undecided))


def _unknown(spec: MaskingSpec, facts: Facts) -> list[str]:
    """What the rules name and is not there: they would do nothing, and nobody would know."""
    problems: list[str] = []
    for named, rules in spec.tables.items():
        name = qualify(named)
        if name in facts.partitions:
            problems.append(f"{name} is a partition of {facts.partitions[name]}: name that one")
        elif name in facts.tables:
            columns = facts.tables[name].columns
            problems += [
                f"{facts.what} has no column {column} in {name}; its columns are "
                f"{', '.join(columns)}"
                for column in rules
                if column not in columns and column != ALL_OTHERS
            ]
        elif name not in facts.without_rows:
            problems.append(f"{facts.what} has no table {name}")
    return problems


def _marked(facts: Facts) -> set[_Place]:
    """Columns that are part of what makes rows unique, and those that refer to such, wherever the
    rows of the other table are: each backup of a system has to come to the same."""
    unique = {
        (facts.partitions.get(holder, holder), column)
        for holder, columns in facts.uniques.items()
        for column in columns
    }
    referring = {
        (facts.partitions.get(key.table, key.table), column)
        for key in facts.foreign_keys
        for column in key.columns
    }
    return unique | referring


def _pairs(key: ForeignKey, facts: Facts) -> list[tuple[_Place, _Place]]:
    """The columns that a foreign key compares, where the rows of both tables are there."""
    child = facts.partitions.get(key.table, key.table)
    parent = facts.partitions.get(key.references, key.references)
    if child not in facts.tables or parent not in facts.tables:
        return []
    columns = zip(key.columns, key.referenced_columns, strict=True)
    return [((child, ours), (parent, theirs)) for ours, theirs in columns]


def _unlike(
    key: ForeignKey, masks: Mapping[str, Mapping[str, ColumnMask]], facts: Facts
) -> list[str]:
    """What a foreign key has against the masks of its two ends."""
    problems: list[str] = []
    for (table, column), (parent, referenced) in _pairs(key, facts):
        ours, theirs = masks[table].get(column), masks[parent].get(referenced)
        # NULL refers to nothing.
        if ours == theirs or (ours is not None and ours.action == "null"):
            continue
        of_types = "" if _said(ours) != _said(theirs) else ", and their types differ"
        problems.append(
            f"{table}.{column} is {_said(ours)} and {parent}.{referenced}, which it refers to, is "
            f"{_said(theirs)}{of_types}: they must be masked alike"
        )
    return problems


def _said(mask: ColumnMask | None) -> str:
    return "keep" if mask is None else mask.in_words


def _open_in_heirs(name: str, table: TableFacts, spec: MaskingSpec, facts: Facts) -> list[str]:
    """Columns that a table inherits from one where they are masked, and that nobody decided on."""
    own = spec.rules_of(name)
    return [
        f"{parent}.{column} is masked, and nothing is said of {name}.{column}, which inherits it"
        for parent in table.inherits
        for column, rule in spec.rules_of(parent).items()
        if rule != "keep" and column in table.columns
        if column not in own and ALL_OTHERS not in own
        if parent in facts.tables
    ]


def _not_decided(columns: list[str]) -> str:
    more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
    return (
        f"undecided is refuse, and nothing is said of {', '.join(columns[:_SHOWN])}{more}: decide, "
        "or write keep"
    )
