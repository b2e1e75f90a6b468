"""What a database looks like to people: its tables in modules.

Only names, foreign keys and sizes are looked at; the order in which they come changes nothing.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import chain

from backup_pipelines.onboarding.grouping import BIG, GENERAL, grouped
from backup_pipelines.onboarding.names import words_of
from backup_pipelines.onboarding.table_facts import PUBLIC, Reference, TableFacts
from backup_pipelines.system import OTHER

# With more modules than this nobody finds anything; big databases get one more for ten tables.
_MODULES = 12
_TABLES_PER_MODULE = 10

_RESERVED = {OTHER, "catalog"}


def propose_modules(
    tables: Iterable[TableFacts], references: Iterable[Reference]
) -> dict[str, tuple[TableFacts, ...]]:
    """Every table in exactly one module: by schema, then by name prefix and foreign key.

    Modules of `public` come first, `general` last of all; a module's head is its first table.
    """
    ordered, keys = sorted(set(tables)), sorted(set(references))
    schemas: dict[str, list[TableFacts]] = {}
    for table in ordered:
        schemas.setdefault(table.schema, []).append(table)
    alone = len(schemas) == 1
    whole = [s for s, own in schemas.items() if not alone and s != PUBLIC and len(own) <= BIG]
    most = max(_MODULES, len(ordered) // _TABLES_PER_MODULE)
    titles = _schema_titles(whole, most)
    split = sorted(set(schemas) - set(whole), key=lambda schema: (schema != PUBLIC, schema))
    share = max(2, (most - len(set(titles.values()))) // max(1, len(split)))
    found: list[tuple[str, tuple[TableFacts, ...]]] = []
    for schema in split:
        title = "" if alone or schema == PUBLIC else schema
        ordered_groups = grouped(schemas[schema], keys, share, ordered)
        found += [(f"{title}_{name}" if title else name, group) for name, group in ordered_groups]
    for title in sorted(set(titles.values())):
        own = (schemas[schema] for schema in whole if titles[schema] == title)
        found.append((title, tuple(chain.from_iterable(own))))
    modules: dict[str, tuple[TableFacts, ...]] = {}
    for name, group in sorted(found, key=lambda module: module[0] == GENERAL):
        modules[_unique(name, modules)] = group
    return modules


def _schema_titles(schemas: Collection[str], most: int) -> dict[str, str]:
    """A module for every schema, or for every prefix of schemas where there are too many."""
    if len(schemas) < most:
        return {schema: schema for schema in schemas}
    first = {schema: words_of(schema)[:1] for schema in schemas}
    times = Counter(first.values())
    return {
        schema: word[0] if word and times[word] > 1 else schema for schema, word in first.items()
    }


def _unique(name: str, taken: Mapping[str, object]) -> str:
    """A valid module name like this one that is not taken."""
    base = re.sub(r"[^a-z0-9]+", "_", "_".join(words_of(name))).strip("_")[:50].rstrip("_")
    if not base:
        base = "module"
    elif base in _RESERVED:
        base = f"{base}_tables"
    elif not base[0].isalpha():
        base = f"m_{base}"
    found, number = base, 1
    while found in taken:
        number += 1
        found = f"{base}_{number}"
    return found
