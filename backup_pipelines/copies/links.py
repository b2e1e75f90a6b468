"""Links to the objects of a backup, by which anybody who has them can read for a while.

A link is a secret as long as it lives: it needs no other credentials, and nothing takes it back.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from backup_pipelines import layout
from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.manifest import Manifest, Table
from backup_pipelines.storage.store import Store
from backup_pipelines.system import qualify
from backup_pipelines.wording import moment

# S3 signs for no longer. They are kept in Dagster's event log, where old ones shall be harmless.
LONGEST = timedelta(days=7)

SECRET = "whoever has a link can read the object until then, so pass it on as you would a password"
"""For people who are shown links."""

ENCRYPTED = "what ends in .age is encrypted: it opens with `age -d -i IDENTITY`"
"""For people who are shown links to an encrypted backup."""

_LIFETIME = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Link:
    """One object, and the address where it can be fetched."""

    key: str
    what: str
    """Whose rows it holds, or what else it is."""
    size_bytes: int | None
    """None for the manifest, which names the others."""
    sha256: str
    url: str

    @property
    def is_encrypted(self) -> bool:
        """Whether what comes is an age file, which only an identity opens."""
        return layout.is_encrypted(self.key)


@dataclass(frozen=True)
class Links:
    """The links to a backup's objects, and when they end."""

    backup: str
    system: str
    until: datetime
    links: tuple[Link, ...]

    @property
    def is_encrypted(self) -> bool:
        """Whether some of what they lead to is encrypted."""
        return any(link.is_encrypted for link in self.links)

    def document(self) -> Mapping[str, Any]:
        """What `link --json` prints."""
        return {
            "backup": self.backup,
            "system": self.system,
            "expires_at": self.until.isoformat(),
            "encrypted": self.is_encrypted,
            "links": [
                {
                    "key": link.key,
                    "what": link.what,
                    "size_bytes": link.size_bytes,
                    "sha256": link.sha256,
                    "encrypted": link.is_encrypted,
                    "url": link.url,
                }
                for link in self.links
            ],
        }


def parse_lifetime(text: str) -> timedelta:
    """A duration such as 30m, 1h or 7d; raises Refused for others and for more than 7 days."""
    match = _LIFETIME.fullmatch(text.strip())
    lifetime = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < lifetime <= LONGEST:
        raise Refused(
            f"{text!r} is no time that a link can live: write a number and s, m, h or d, such as "
            f"1h, and at most {LONGEST.days}d"
        )
    return lifetime


def make(
    store: Store,
    entry: Manifest,
    lifetime: timedelta,
    tables: Collection[str] = (),
) -> Links:
    """Links to every object of a backup, or to the parts of some tables, partitions included.

    Raises NotFound for a table that the backup lacks, Refused where there is nothing to link to
    and for a store that is a folder.
    """
    chosen = list(_of_tables(entry, tables) if tables else _of_backup(entry))
    if not chosen:
        raise Refused(f"{', '.join(tables)}: no rows in {entry.id}, and so no objects to link to")
    # Taken first, and without the fraction, as the signature has it: they must not be said to live
    # longer than they do.
    until = datetime.now(UTC).replace(microsecond=0) + lifetime
    urls = store.links([key for key, *_ in chosen], lifetime)
    made = tuple(Link(*about, url=url) for about, url in zip(chosen, urls, strict=True))
    return Links(entry.id, entry.system, until, made)


_About = tuple[str, str, int | None, str]


def _of_backup(entry: Manifest) -> Iterator[_About]:
    yield layout.manifest_key(entry.system, entry.id), "manifest", None, ""
    for document in entry.documents:
        name = document.key.rpartition("/")[2]
        yield document.key, name, document.size_bytes, document.sha256
    for section in entry.ddl:
        yield section.key, f"DDL, {section.section}", section.size_bytes, section.sha256
    for table in entry.tables:
        yield from _parts(table)


def _of_tables(entry: Manifest, names: Collection[str]) -> Iterator[_About]:
    wanted = {qualify(name) for name in names}
    known = {table.qualified for table in entry.tables}
    missing = sorted(wanted - known)
    if missing:
        raise NotFound(
            f"{entry.id} has no table {', '.join(missing)}; it has {', '.join(sorted(known))}"
        )
    for table in entry.tables:
        if table.qualified in wanted or table.partition_of in wanted:
            yield from _parts(table)


def _parts(table: Table) -> Iterator[_About]:
    for part in table.parts:
        yield part.key, table.qualified, part.size_bytes, part.sha256


def in_words(made: Links, tables: Collection[str]) -> str:
    """What the audit trail says of links that were made: all but the links."""
    what = ", ".join(tables) or "the whole backup"
    count = len(made.links)
    return f"{count} links to {what}, which end at {moment(made.until, seconds=True)}"
