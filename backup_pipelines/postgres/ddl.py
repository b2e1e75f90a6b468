"""pg_dump's plain SQL taken apart: entries as pg_dump announces them, statements as SQL has them.

Only comments outside of every quoted text count as announcements, so that a function whose body
looks like a dump cannot make us see objects that are not there.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from backup_pipelines.errors import Damaged

_ANNOUNCEMENT = re.compile(
    r"-- (?:Data for )?Name: (?P<name>.*); Type: (?P<type>[A-Z ]+);"
    r" Schema: (?P<schema>.*); Owner: (?P<owner>.*)"
)

# A setting that pg_dump writes before it announces the object that needs it.
_FOR_THE_NEXT = re.compile(r"SET default_\w+ = [^;]*;")

# What can begin a text in which a semicolon or `--` means nothing; `\$` needs no word before it.
_TOKEN = re.compile(
    r"""
      (?P<comment>--[^\n]*)
    | (?P<block>/\*)
    | (?P<escape>(?<![A-Za-z0-9_$])[eE]'[^'\\]*(?:(?:\\.|'')[^'\\]*)*')
    | (?P<string>'[^']*(?:''[^']*)*')
    | (?P<quoted>"[^"]*(?:""[^"]*)*")
    | (?P<open>(?<![A-Za-z0-9_$])[eE]'|['"])
    | (?P<dollar>(?<![A-Za-z0-9_$\x80-\U0010ffff])
        \$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?)\$)
    | (?P<left>\()
    | (?P<right>\))
    | (?P<atomic>\bBEGIN\s+ATOMIC\b)
    | (?P<case>\bCASE\b)
    | (?P<end>\bEND\b)
    | (?P<semicolon>;)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Entry:
    """One object of a dump: what pg_dump calls it, and its statements."""

    type: str
    schema: str
    name: str
    owner: str
    statements: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hash of the statements, the part of an entry that a restore runs."""
        return hashlib.sha256("\n".join(self.statements).encode()).hexdigest()


def announced(name: str) -> str:
    """A name as pg_dump's announcements spell it."""
    return name.replace("\n", " ").replace("\r", " ")


def split(text: str) -> list[Entry]:
    """The entries of a section in order, without pg_dump's preamble of SET statements.

    Raises Damaged when a quoted text does not end.
    """
    entries: list[Entry] = []
    head: re.Match[str] | None = None
    statements: list[str] = []

    def finish() -> None:
        kept = len(statements)
        while kept and _FOR_THE_NEXT.fullmatch(statements[kept - 1]):
            kept -= 1
        if head is not None and kept:
            own = tuple(statements[:kept])
            entries.append(Entry(head["type"], head["schema"], head["name"], head["owner"], own))
        del statements[:kept]

    for kind, piece in scan(text):
        if kind == "statement":
            statements.append(piece)
            continue
        announced = _ANNOUNCEMENT.fullmatch(piece)
        if announced is not None:
            finish()
            head = announced
    finish()
    return entries


def scan(text: str) -> Iterator[tuple[str, str]]:
    """Top-level comments and statements in order, as ("comment" | "statement", text)."""
    start = position = 0
    depth = 0
    while (token := _TOKEN.search(text, position)) is not None:
        kind = token.lastgroup if token.lastgroup != "tag" else "dollar"
        position = _end_of(text, token)
        if kind == "comment" and not text[start : token.start()].strip():
            yield "comment", token.group()
            start = position
        elif kind in {"atomic", "left"} or (kind == "case" and depth):
            depth += 1
        elif kind in {"end", "right"} and depth:
            depth -= 1
        elif kind == "semicolon" and not depth:
            yield "statement", text[start:position].strip()
            start = position
    if text[start:].strip():
        raise Damaged("the DDL ends in the middle of a statement")


def _end_of(text: str, token: re.Match[str]) -> int:
    if token["dollar"]:
        end = text.find(token["dollar"], token.end())
        if end < 0:
            raise Damaged("the DDL ends inside a dollar-quoted text")
        return end + len(token["dollar"])
    if token["open"]:
        raise Damaged("the DDL ends inside a quoted text")
    if token["block"]:
        return _end_of_block_comment(text, token.end())
    return token.end()


def _end_of_block_comment(text: str, position: int) -> int:
    """PostgreSQL's block comments nest."""
    depth = 1
    for found in re.compile(r"/\*|\*/").finditer(text, position):
        depth += 1 if found.group() == "/*" else -1
        if depth == 0:
            return found.end()
    raise Damaged("the DDL ends inside a comment")
