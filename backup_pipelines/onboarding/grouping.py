"""The modules of one schema: tables that share a name's first word or hang together by keys."""

from collections import Counter
from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from backup_pipelines.onboarding.groups import Groups, Link
from backup_pipelines.onboarding.names import Words, stems_of, words_of
from backup_pipelines.onboarding.table_facts import Reference, TableFacts

GENERAL = "general"

# A schema or a prefix with more tables than this is more than one module.
BIG = 20

# A first word that most tables share (wp_, app_, t_) tells them apart as little as no word.
_MOST, _MOST_OF = 0.6, 6

_LOG_WORDS = {"log", "audit", "history", "activity"}


def grouped(
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


def _links(tables: Sequence[TableFacts], references: Sequence[Reference]) -> list[Link]:
    by_name = {table.qualified: table for table in tables}
    found: list[Link] = []
    for ref in references:
        child, parent = by_name.get(ref.table), by_name.get(ref.references)
        if child is None or parent is None or child == parent:
            continue
        found.append(
            Link(
                child,
                parent,
                cascades=ref.cascades,
                extends=_is_extension(child, ref),
                by_actor=len(ref.columns) == 1 and words_of(ref.columns[0])[1:][-1:] == ("by",),
            )
        )
    return found


def _is_extension(child: TableFacts, ref: Reference) -> bool:
    return bool(ref.columns) and sorted(ref.columns) == sorted(child.primary_key)


def _by_prefix(
    tables: Sequence[TableFacts], links: Sequence[Link], everywhere: Sequence[TableFacts]
) -> Groups:
    """Tables that share their first word; `accounts` heads account_*, singular or plural."""
    words = _distinctive_words(tables)
    stems = {table: stems_of(words[table]) for table in tables}
    first = Counter(stems[table][:1] for table in tables)
    second = Counter(stems[table][:2] for table in tables)
    groups: dict[Words | TableFacts, list[TableFacts]] = {}
    for table in tables:
        key: Words | TableFacts = stems[table][:1] or table
        if first[stems[table][:1]] > BIG and second[stems[table][:2]] > 1:
            key = stems[table][:2] or table
        groups.setdefault(key, []).append(table)
    referred = Counter(link.parent for link in links)
    exact: dict[Words, str] = {}
    for table in (*everywhere, *tables):
        known = words.get(table) or words_of(table.name)
        exact[stems_of(known)] = "_".join(known)
    members: dict[TableFacts, list[TableFacts]] = {}
    names: dict[TableFacts, str] = {}
    for key, group in groups.items():
        chosen = min(group, key=lambda t: (stems[t] != key, -referred[t], -t.size_bytes, t.name))
        members[chosen] = group
        for table in group:
            names[table] = "_".join(words[table])
        if not isinstance(key, TableFacts) and len(group) > 1 and stems[chosen] != key:
            names[chosen] = exact.get(key) or "_".join(words[chosen][: len(key)])
    return Groups(members, names, links)


def _distinctive_words(tables: Sequence[TableFacts]) -> dict[TableFacts, Words]:
    """The words of every name, without the first where most names share it and none is it."""
    words = {table: words_of(table.name) for table in tables}
    times = Counter(own[0] for own in words.values() if own)
    for word, count in times.items():
        if count < max(_MOST_OF, _MOST * len(tables)):
            continue
        if not any(stems_of(own) == stems_of((word,)) for own in words.values()):
            return {t: own[1:] if own[:1] == (word,) else own for t, own in words.items()}
    return words


def _join_extensions(
    groups: Groups, references: Sequence[Reference], everywhere: Sequence[TableFacts]
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
        target = named.get("_".join(words_of(parent.name)))
        if target is not None and groups.head[table] == table:
            groups.join(table, target)


def _join_leaves(groups: Groups) -> None:
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


def _join_details(groups: Groups) -> None:
    """A table that nothing refers to joins the likeliest of the tables it refers to."""
    outgoing: dict[TableFacts, list[Link]] = {}
    for link in groups.links:
        if not link.by_actor:
            outgoing.setdefault(link.child, []).append(link)
    for table in groups.singles():
        if table in groups.referred:
            continue
        stems = set(stems_of(words_of(table.name)))
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
                    not stems & set(stems_of(words_of(link.parent.name))),
                    link.parent,
                ),
            )
            groups.join(table, best.parent)


def _collect_rest(groups: Groups) -> TableFacts | None:
    """Logs that stand alone become one group, the other such tables another; returns its head."""
    neighbours = groups.neighbours()
    alone = [table for table in groups.singles() if not neighbours[table]]
    logs = [table for table in alone if _LOG_WORDS & set(stems_of(words_of(table.name)))]
    others = [table for table in alone if table not in logs]
    if len(logs) == 1:
        words = groups.names[logs[0]].split("_")
        shorter = words[:-1] if stems_of(words)[-1] in {"log", "history"} else words
        groups.names[logs[0]] = "_".join(shorter or words)
    for tables, name in ((logs, "logs"), (others, GENERAL)):
        if len(tables) > 1:
            head = min(tables, key=lambda t: (-t.size_bytes, t))
            groups.names[head] = name
            for table in tables:
                groups.join(table, head)
    return groups.head[others[0]] if others else None


def _merge_smallest(groups: Groups, rest: TableFacts | None, most: int) -> None:
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
