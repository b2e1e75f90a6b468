"""What a database looks like to people: modules of its tables, and tables nobody may want back.

Only names, foreign keys and sizes are looked at; the order in which they come changes nothing.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import chain

from backup_pipelines.system import OTHER, is_pattern

PUBLIC = "public"
GENERAL = "general"

# With more modules than this nobody finds anything; big databases get one more for ten tables.
_MODULES = 12
_TABLES_PER_MODULE = 10

# A schema or a prefix with more tables than this is more than one module.
_BIG = 20

# A table that so many groups refer to says nothing about where those belong: users, accounts.
_HUB = 4

# A first word that most tables share (wp_, app_, t_) tells them apart as little as no word.
_MOST, _MOST_OF = 0.6, 6

_RESERVED = {OTHER, "catalog"}
_MIGRATIONS = {
    "alembic_version",
    "ar_internal_metadata",
    "databasechangelog",
    "databasechangeloglock",
    "efmigrationshistory",
    "flyway_schema_history",
    "goose_db_version",
    "knex_migrations_lock",
}
_LOG_WORDS = {"log", "audit", "history", "activity"}
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_Words = tuple[str, ...]


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


@dataclass(frozen=True)
class _Link:
    child: TableFacts
    parent: TableFacts
    cascades: bool
    extends: bool  # the key is the child's primary key: the same thing in two tables
    by_actor: bool  # created_by and the like: who did it, not what it belongs to


class _Groups:
    """Tables in groups that grow, each known by its head, and the foreign keys between them."""

    def __init__(
        self,
        members: dict[TableFacts, list[TableFacts]],
        names: dict[TableFacts, str],
        links: Sequence[_Link],
    ) -> None:
        self.members = members
        self.names = names
        self.links = links
        self.referred = {link.parent for link in links}
        self.head = {table: head for head, own in members.items() for table in own}
        referring: dict[TableFacts, set[TableFacts]] = {}
        for link in links:
            if self.head[link.child] != self.head[link.parent]:
                referring.setdefault(link.parent, set()).add(self.head[link.child])
        self.hubs = {table for table, heads in referring.items() if len(heads) >= _HUB}

    def neighbours(self) -> dict[TableFacts, Counter[TableFacts]]:
        """For every head, the other heads that foreign keys which mean something lead to."""
        found: dict[TableFacts, Counter[TableFacts]] = {head: Counter() for head in self.members}
        for link in self.links:
            child, parent = self.head[link.child], self.head[link.parent]
            means = link.extends or not (link.by_actor or link.parent in self.hubs)
            if child != parent and means:
                found[child][parent] += 1
                found[parent][child] += 1
        return found

    def join(self, joining: TableFacts, target: TableFacts) -> None:
        """Put the group of one head into the group of another table."""
        target = self.head[target]
        if joining != target:
            moved = self.members.pop(joining)
            self.members[target] += moved
            self.head |= dict.fromkeys(moved, target)

    def singles(self) -> list[TableFacts]:
        """Groups of one table, hubs apart: those are the heads of what is to come."""
        return sorted(h for h, own in self.members.items() if len(own) == 1 and h not in self.hubs)


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


def propose_modules(
    tables: Iterable[TableFacts], references: Iterable[Reference]
) -> dict[str, tuple[TableFacts, ...]]:
    """Every table in exactly one module: by schema, then by name prefix and foreign key.

    Modules of `public` come first, `general` at their end; a module's head is its first table.
    """
    ordered, keys = sorted(set(tables)), sorted(set(references))
    schemas: dict[str, list[TableFacts]] = {}
    for table in ordered:
        schemas.setdefault(table.schema, []).append(table)
    alone = len(schemas) == 1
    whole = [s for s, own in schemas.items() if not alone and s != PUBLIC and len(own) <= _BIG]
    most = max(_MODULES, len(ordered) // _TABLES_PER_MODULE)
    titles = _schema_titles(whole, most)
    split = sorted(set(schemas) - set(whole), key=lambda schema: (schema != PUBLIC, schema))
    share = max(2, (most - len(set(titles.values()))) // max(1, len(split)))
    found: list[tuple[str, tuple[TableFacts, ...]]] = []
    for schema in split:
        title = "" if alone or schema == PUBLIC else schema
        grouped = _grouped(schemas[schema], keys, share, ordered)
        found += [(f"{title}_{name}" if title else name, group) for name, group in grouped]
    for title in sorted(set(titles.values())):
        own = (schemas[schema] for schema in whole if titles[schema] == title)
        found.append((title, tuple(chain.from_iterable(own))))
    modules: dict[str, tuple[TableFacts, ...]] = {}
    for name, group in found:
        modules[_unique(name, modules)] = group
    return modules


def exclusion_candidates(
    tables: Iterable[TableFacts], references: Iterable[Reference]
) -> dict[TableFacts, str]:
    """Tables whose rows people often leave out, with the reason, as far as nothing needs them."""
    reasons = {table: _looks_like(table.name) for table in sorted(tables)}
    found = {table: reason for table, reason in reasons.items() if reason}
    links = [(ref.table, ref.references) for ref in references if ref.table != ref.references]
    while True:
        # Without its rows, whatever refers to it could not be restored.
        names = {table.qualified for table in found}
        needed = {parent for child, parent in links if child not in names}
        kept = {table: why for table, why in found.items() if table.qualified not in needed}
        if len(kept) == len(found):
            return found
        found = kept


def _looks_like(name: str) -> str:
    words = _stems(_words(name))
    if not words:
        return ""
    last, known = words[-1], set(words)
    if last == "migration" or name.strip("_").lower() in _MIGRATIONS:
        return "looks like the history of a migration tool"
    if known & {"cache", "cached"}:
        return "looks like a cache, which fills itself again"
    if last == "session":
        return "looks like sessions, which end with a restore"
    if last in {"token", "nonce", "otp"} or words[-2:] == ("password", "reset"):
        return "looks like tokens, which a restore would bring back to life"
    if last == "job" or "queue" in known or words[-2:] == ("job", "batch"):
        return "looks like a job queue, whose old jobs a restore would run again"
    if known & {"tmp", "temp", "bak"}:
        return "looks like a temporary copy"
    return ""


def _schema_titles(schemas: Collection[str], most: int) -> dict[str, str]:
    """A module for every schema, or for every prefix of schemas where there are too many."""
    if len(schemas) < most:
        return {schema: schema for schema in schemas}
    first = {schema: _words(schema)[:1] for schema in schemas}
    times = Counter(first.values())
    return {
        schema: word[0] if word and times[word] > 1 else schema for schema, word in first.items()
    }


def _grouped(
    tables: Sequence[TableFacts],
    references: Sequence[Reference],
    most: int,
    everywhere: Sequence[TableFacts],
) -> list[tuple[str, tuple[TableFacts, ...]]]:
    """The modules of one schema: name and tables, head first."""
    links = _links(tables, references)
    groups = _by_prefix(tables, links, everywhere)
    _join_extensions(groups, references, everywhere)
    _join_leaves(groups)
    _join_details(groups)
    _join_leaves(groups)
    rest = _collect_rest(groups)
    _merge_smallest(groups, rest, most)
    found: list[tuple[str, tuple[TableFacts, ...]]] = []
    for head, members in groups.members.items():
        others = sorted(table for table in members if table != head)
        found.append((groups.names[head], (head, *others)))
    return sorted(found, key=lambda module: (module[1][0] == rest, module[0], module[1]))


def _links(tables: Sequence[TableFacts], references: Sequence[Reference]) -> list[_Link]:
    by_name = {table.qualified: table for table in tables}
    found: list[_Link] = []
    for ref in references:
        child, parent = by_name.get(ref.table), by_name.get(ref.references)
        if child is None or parent is None or child == parent:
            continue
        found.append(
            _Link(
                child,
                parent,
                cascades=ref.cascades,
                extends=_is_extension(child, ref),
                by_actor=len(ref.columns) == 1 and _words(ref.columns[0])[1:][-1:] == ("by",),
            )
        )
    return found


def _is_extension(child: TableFacts, ref: Reference) -> bool:
    return bool(ref.columns) and sorted(ref.columns) == sorted(child.primary_key)


def _by_prefix(
    tables: Sequence[TableFacts], links: Sequence[_Link], everywhere: Sequence[TableFacts]
) -> _Groups:
    """Tables that share their first word; `accounts` heads account_*, singular or plural."""
    words = _distinctive_words(tables)
    stems = {table: _stems(words[table]) for table in tables}
    first = Counter(stems[table][:1] for table in tables)
    second = Counter(stems[table][:2] for table in tables)
    groups: dict[_Words | TableFacts, list[TableFacts]] = {}
    for table in tables:
        key: _Words | TableFacts = stems[table][:1] or table
        if first[stems[table][:1]] > _BIG and second[stems[table][:2]] > 1:
            key = stems[table][:2] or table
        groups.setdefault(key, []).append(table)
    referred = Counter(link.parent for link in links)
    exact: dict[_Words, str] = {}
    for table in (*everywhere, *tables):
        known = words.get(table) or _words(table.name)
        exact[_stems(known)] = "_".join(known)
    members: dict[TableFacts, list[TableFacts]] = {}
    names: dict[TableFacts, str] = {}
    for key, group in groups.items():
        chosen = min(group, key=lambda t: (stems[t] != key, -referred[t], -t.size_bytes, t.name))
        members[chosen] = group
        for table in group:
            names[table] = "_".join(words[table])
        if not isinstance(key, TableFacts) and len(group) > 1 and stems[chosen] != key:
            names[chosen] = exact.get(key) or "_".join(words[chosen][: len(key)])
    return _Groups(members, names, links)


def _distinctive_words(tables: Sequence[TableFacts]) -> dict[TableFacts, _Words]:
    """The words of every name, without the first where most names share it and none is it."""
    words = {table: _words(table.name) for table in tables}
    times = Counter(own[0] for own in words.values() if own)
    for word, count in times.items():
        if count < max(_MOST_OF, _MOST * len(tables)):
            continue
        if not any(_stems(own) == _stems((word,)) for own in words.values()):
            return {t: own[1:] if own[:1] == (word,) else own for t, own in words.items()}
    return words


def _join_extensions(
    groups: _Groups, references: Sequence[Reference], everywhere: Sequence[TableFacts]
) -> None:
    """A table that extends one of another schema joins the group with that one's name.

    With auth.users elsewhere, user_roles here and a profile for each user, profiles go with roles.
    """
    elsewhere = {table.qualified: table for table in everywhere if table not in groups.head}
    singles = {table.qualified: table for table in groups.singles()}
    named = {
        groups.names[head]: head
        for head, members in sorted(groups.members.items(), reverse=True)
        if len(members) > 1
    }
    for ref in references:
        table, parent = singles.get(ref.table), elsewhere.get(ref.references)
        if table is None or parent is None or not _is_extension(table, ref):
            continue
        target = named.get("_".join(_words(parent.name)))
        if target is not None and groups.head[table] == table:
            groups.join(table, target)


def _join_leaves(groups: _Groups) -> None:
    """A table that foreign keys tie to one group only joins it, round by round."""
    while True:
        neighbours = groups.neighbours()
        targets = {
            table: next(iter(neighbours[table]))
            for table in groups.singles()
            if len(neighbours[table]) == 1
        }
        for table, target in targets.items():
            # Of two that only have each other, the one that is referred to is the head.
            if targets.get(target) == table and (table in groups.referred, target < table) > (
                target in groups.referred,
                table < target,
            ):
                continue
            if groups.head[table] == table:
                groups.join(table, target)
        if not targets:
            return


def _join_details(groups: _Groups) -> None:
    """A table that nothing refers to joins the likeliest of the tables it refers to."""
    outgoing: dict[TableFacts, list[_Link]] = {}
    for link in groups.links:
        if not link.by_actor:
            outgoing.setdefault(link.child, []).append(link)
    for table in groups.singles():
        if table in groups.referred:
            continue
        stems = set(_stems(_words(table.name)))
        links = outgoing.get(table, [])
        # Rows that go with a hub's are details of it; rows that only mention it are not.
        likely = [link for link in links if link.cascades or link.parent not in groups.hubs]
        if likely:
            best = min(
                likely,
                key=lambda link: (
                    not link.extends,
                    link.parent in groups.hubs,
                    not link.cascades,
                    not stems & set(_stems(_words(link.parent.name))),
                    link.parent,
                ),
            )
            groups.join(table, best.parent)


def _collect_rest(groups: _Groups) -> TableFacts | None:
    """Logs that stand alone become one group, the other such tables another; returns its head."""
    neighbours = groups.neighbours()
    alone = [table for table in groups.singles() if not neighbours[table]]
    logs = [table for table in alone if _LOG_WORDS & set(_stems(_words(table.name)))]
    others = [table for table in alone if table not in logs]
    if len(logs) == 1:
        words = groups.names[logs[0]].split("_")
        shorter = words[:-1] if _stems(words)[-1] in {"log", "history"} else words
        groups.names[logs[0]] = "_".join(shorter or words)
    for tables, name in ((logs, "logs"), (others, GENERAL)):
        if len(tables) > 1:
            head = min(tables, key=lambda t: (-t.size_bytes, t))
            groups.names[head] = name
            for table in tables:
                groups.join(table, head)
    return groups.head[others[0]] if others else None


def _merge_smallest(groups: _Groups, rest: TableFacts | None, most: int) -> None:
    """While there are too many groups, the smallest joins its closest, or the rest."""

    def size(head: TableFacts) -> tuple[int, int, TableFacts]:
        own = groups.members[head]
        return len(own), sum(table.size_bytes for table in own), head

    near = groups.neighbours()
    waiting = [size(head) for head in groups.members if head != rest]
    heapify(waiting)
    while len(groups.members) > most:
        smallest = heappop(waiting)
        head = smallest[-1]
        if head not in groups.members or smallest != size(head):
            continue  # it has grown or joined another since
        if near[head]:
            # Of equals the smaller, or one would swallow all others.
            target = min(near[head], key=lambda h: (-near[head][h], len(groups.members[h]), h))
        elif rest is not None:
            target = rest
        else:
            rest = head
            continue
        groups.join(head, target)
        for other, count in near.pop(head).items():
            del near[other][head]
            if other != target:
                near[other][target] += count
                near[target][other] += count
        if target == rest:
            groups.names[target] = GENERAL
        else:
            heappush(waiting, size(target))


def _words(name: str) -> _Words:
    """The words of a name, without case and accents, of CamelCase too."""
    plain = unicodedata.normalize("NFKD", _CAMEL.sub("_", name).casefold())
    return tuple(re.findall(r"[^\W_]+", "".join(c for c in plain if not unicodedata.combining(c))))


def _stems(words: Sequence[str]) -> _Words:
    return tuple(_stem(word) for word in words)


def _stem(word: str) -> str:
    """The singular of an English word, or at least the same for singular and plural."""
    if len(word) <= 3:
        return word
    for ending, instead in (("ies", "y"), ("ie", "y"), ("sses", "ss"), ("xes", "x")):
        if word.endswith(ending):
            return word.removesuffix(ending) + instead
    if word.endswith(("ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _unique(name: str, taken: Mapping[str, object]) -> str:
    """A valid module name like this one that is not taken."""
    base = re.sub(r"[^a-z0-9]+", "_", "_".join(_words(name))).strip("_")[:50].rstrip("_")
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
