"""Which table belongs to which module: decided from names alone, so that loading needs no database.

An entry is what people select and what becomes one asset: a table that the YAML names, all tables
that a module's patterns find, or all tables that nothing names (module `other`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from backup_pipelines.errors import NotFound
from backup_pipelines.manifest import Excluded
from backup_pipelines.system import OTHER, System, is_pattern, qualify

Scope = Literal["full", "modules", "tables"]


@dataclass(frozen=True, order=True)
class Entry:
    """One selectable unit of a system."""

    module: str
    kind: Literal["table", "patterns", "other"]
    name: str  # the qualified table of kind "table", else the module


@dataclass(frozen=True)
class Assignment:
    """How the tables of a live database fall into the entries of a system."""

    tables: Mapping[Entry, tuple[str, ...]]
    missing: tuple[Entry, ...]
    excluded: tuple[Excluded, ...]

    def entry_of(self) -> dict[str, Entry]:
        """The entry of every assigned table."""
        return {table: entry for entry, tables in self.tables.items() for table in tables}


def entries(system: System) -> tuple[Entry, ...]:
    """All entries of a system in the order of its YAML, `other` last."""
    found: list[Entry] = []
    for module, spec in system.modules.items():
        named = [qualify(table) for table in spec.tables if not is_pattern(table)]
        found += [Entry(module, "table", table) for table in named]
        if len(named) < len(spec.tables):
            found.append(Entry(module, "patterns", module))
    return (*found, Entry(OTHER, "other", OTHER))


def assign(system: System, tables: Iterable[str]) -> Assignment:
    """Put every table of the database into exactly one entry, or leave it out with its reason.

    Names win over patterns, exclusions named outright win over patterns of modules, and among
    patterns the YAML's order decides, modules before exclusions.
    """
    known = entries(system)
    found: dict[Entry, list[str]] = {entry: [] for entry in known}
    by_name = {entry.name: entry for entry in known if entry.kind == "table"}
    reasons = {qualify(spec.table): spec.reason for spec in system.excluded}
    excluded: list[Excluded] = []
    for table in sorted(tables):
        entry = by_name.get(table)
        if entry is None and table in reasons:
            excluded.append(Excluded(name=table, reason=reasons[table]))
            continue
        entry = entry or _by_pattern(system, table)
        if entry is None:
            reason = next((r for p, r in reasons.items() if fnmatchcase(table, p)), None)
            if reason is not None:
                excluded.append(Excluded(name=table, reason=reason))
                continue
            entry = Entry(OTHER, "other", OTHER)
        found[entry].append(table)
    missing = tuple(e for e in known if e.kind == "table" and not found[e])
    return Assignment({e: tuple(t) for e, t in found.items()}, missing, tuple(excluded))


def select_modules(system: System, modules: Iterable[str]) -> frozenset[Entry]:
    """All entries of the named modules; raises NotFound for a module the system does not have."""
    known = entries(system)
    names = dict.fromkeys(entry.module for entry in known)
    wanted = set(modules)
    unknown = sorted(wanted - set(names))
    if unknown:
        raise NotFound(
            f"{system.system} has no module {', '.join(unknown)}; its modules are "
            f"{', '.join(names)}"
        )
    return frozenset(entry for entry in known if entry.module in wanted)


def scope_of(system: System, selection: frozenset[Entry]) -> tuple[Scope, tuple[str, ...]]:
    """What a selection amounts to: everything, whole modules, or single tables; and its modules."""
    known = entries(system)
    modules = tuple(dict.fromkeys(e.module for e in known if e in selection))
    if selection >= frozenset(known):
        return "full", modules
    whole = frozenset(e for e in known if e.module in modules)
    return ("modules" if selection == whole else "tables"), modules


def _by_pattern(system: System, table: str) -> Entry | None:
    for module, spec in system.modules.items():
        patterns = (qualify(t) for t in spec.tables if is_pattern(t))
        if any(fnmatchcase(table, pattern) for pattern in patterns):
            return Entry(module, "patterns", module)
    return None
