"""Groups of tables that grow, each known by its head, and the foreign keys between them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from backup_pipelines.onboarding.table_facts import TableFacts

# A table that so many groups refer to says nothing about where those belong: users, accounts.
_HUB = 4


@dataclass(frozen=True)
class Link:
    child: TableFacts
    parent: TableFacts
    cascades: bool
    extends: bool  # the key is the child's primary key: the same thing in two tables
    by_actor: bool  # created_by and the like: who did it, not what it belongs to


class Groups:
    """Tables in groups that grow, each known by its head, and the foreign keys between them."""

    def __init__(
        self,
        members: dict[TableFacts, list[TableFacts]],
        names: dict[TableFacts, str],
        links: Sequence[Link],
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
