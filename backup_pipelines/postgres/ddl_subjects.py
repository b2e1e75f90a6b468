"""What an object of pg_dump's DDL is about, read from its statements: a name may hold anything.

pg_dump announces `Name: a b c` for a constraint whether the table is called `a` or `a b`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backup_pipelines.postgres.ddl import Entry

Name = tuple[str, ...]
"""Schema and name of a relation; statistics, which may be called as one, have a word before."""

_PART = r'(?:"(?:[^"]|"")+"|[A-Za-z_\x80-\U0010ffff][\w$]*)'
_TOKEN = re.compile(
    rf"""
      (?P<escape>[eE]'(?:[^'\\]|\\.|'')*')
    | (?P<string>'(?:[^']|'')*')
    | (?P<dollar>\$(?P<tag>[^\W\d]\w*|)\$.*?\$(?P=tag)\$)
    | (?P<comment>--[^\n]*)
    | (?P<name>{_PART}(?:\s*\.\s*{_PART})*)
    | (?P<other>\S)
    """,
    re.VERBOSE | re.DOTALL,
)
_PARTS = re.compile(_PART)

_OF_TABLE = {"DEFAULT", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT", "ROW SECURITY", "TABLE"}
_NAMED_AFTER = {
    "VIEW": "VIEW",
    "MATERIALIZED VIEW": "VIEW",
    "INDEX": "ON",
    "POLICY": "ON",
    "SEQUENCE OWNED BY": "SEQUENCE",
    "TABLE ATTACH": "PARTITION",
    "INDEX ATTACH": "PARTITION",
    "PUBLICATION TABLE": "TABLE",
}
_WORDS_BEFORE_NAMES = ("ONLY", "IF", "NOT", "EXISTS")
_COMMENTED = ("TABLE", "INDEX", "SEQUENCE", "VIEW")


@dataclass(frozen=True)
class Word:
    """A name of a statement, in its parts, or a word of SQL."""

    parts: Name
    keyword: str
    """In capitals, unless it is quoted or has several parts."""


def words(statement: str) -> list[Word]:
    """The names and words of a statement; nothing of its texts and bodies."""
    found: list[Word] = []
    for token in _TOKEN.finditer(statement):
        if not token["name"]:
            continue
        pieces = _PARTS.findall(token["name"])
        keyword = pieces[0].upper() if len(pieces) == 1 and pieces[0][0] != '"' else ""
        found.append(Word(tuple(_plain(piece) for piece in pieces), keyword))
    return found


def about(entry: Entry) -> Name | None:
    """The table, view, sequence or index that an object belongs to or is; None for all others."""
    said = words(_telling(entry))
    if entry.type in _OF_TABLE:
        return _after(said, "TABLE")
    if entry.type in _NAMED_AFTER:
        return _after(said, _NAMED_AFTER[entry.type])
    if entry.type == "SEQUENCE":
        return _after(said, "TABLE" if said[0].keyword == "ALTER" else "SEQUENCE")
    if entry.type == "TRIGGER":
        return _after(said, "TABLE" if said[0].keyword == "ALTER" else "ON")
    if entry.type == "RULE":
        return _after(said, "VIEW") or _after(said, "TO") or _after(said, "TABLE")
    if entry.type == "STATISTICS":
        return _after(list(reversed(said)), "FROM", backwards=True)
    if entry.type == "ACL":
        return _of_grant(said)
    return _of_comment(said) if entry.type == "COMMENT" else None


def function_of(entry: Entry) -> Name | None:
    """The name, without its arguments, of the function or procedure that an object is."""
    return _after(words(_telling(entry)), entry.type)


def function_granted(entry: Entry) -> Name | None:
    """The function or procedure, without its arguments, that a grant or a comment is on."""
    said = words(_telling(entry))
    on = next((number for number, word in enumerate(said) if word.keyword == "ON"), len(said))
    return said[on + 2].parts if len(said) > on + 2 else None


def made_with(entry: Entry) -> Iterator[Name]:
    """The sequences, indexes and statistics that an object of a table makes, by their own names."""
    said = words(_telling(entry))
    schema = entry.schema
    if entry.type == "SEQUENCE":
        name = _after(said, "NAME" if said[0].keyword == "ALTER" else "SEQUENCE")
        yield from [name] if name else []
    elif entry.type == "INDEX":
        yield from [(schema, name[-1])] if (name := _after(said, "INDEX")) else []
    elif entry.type == "CONSTRAINT":
        yield from [(schema, name[-1])] if (name := _after(said, "CONSTRAINT")) else []
    elif entry.type == "STATISTICS" and (name := _after(said, "STATISTICS")):
        yield ("statistics", *name)


def owner_of_sequence(entry: Entry) -> Name | None:
    """The table whose column owns the sequence of a SEQUENCE OWNED BY."""
    column = _after(words(_telling(entry)), "BY")
    return column[:-1] if column else None


def attached_to(entry: Entry) -> Name | None:
    """The table or index that an ATTACH gives a partition to."""
    return _after(words(_telling(entry)), "TABLE" if entry.type == "TABLE ATTACH" else "INDEX")


def part_of(entry: Entry) -> str:
    """What a constraint, policy or rule is called by itself."""
    words_before = {"POLICY": "POLICY", "RULE": "RULE"}
    name = _after(words(_telling(entry)), words_before.get(entry.type, "CONSTRAINT"))
    return name[-1] if name else ""


def commented_part(entry: Entry) -> str:
    """The constraint, policy or rule of a table that a comment is on; else nothing."""
    said = words(_telling(entry))
    is_part = said[2].keyword in ("CONSTRAINT", "POLICY", "RULE")
    return said[3].parts[-1] if is_part and len(said) > 3 else ""


def referenced_by(entry: Entry) -> Name | None:
    """The table that a foreign key references."""
    return _after(words(_telling(entry)), "REFERENCES")


def is_body_of_view(entry: Entry) -> bool:
    """Whether it is the second step of a view that pg_dump first makes without its body."""
    return entry.type == "RULE" and _telling(entry).startswith("CREATE OR REPLACE VIEW ")


def named_in(entry: Entry) -> frozenset[Name]:
    """The schema-qualified names in an object's statements, without what follows them."""
    return frozenset(
        word.parts[:2]
        for statement in entry.statements
        for word in words(statement)
        if len(word.parts) > 1
    )


def _telling(entry: Entry) -> str:
    """The statement that says what the object is; grants by others begin with a change of role."""
    return next((s for s in entry.statements if not s.startswith(("SET ", "RESET "))), "")


def _plain(piece: str) -> str:
    return piece[1:-1].replace('""', '"') if piece.startswith('"') else piece


def _after(said: Sequence[Word], keyword: str, *, backwards: bool = False) -> Name | None:
    """The name that follows the first such word, or comes before it if `said` is backwards."""
    for number, word in enumerate(said):
        if word.keyword != keyword:
            continue
        if backwards:
            return said[number - 1].parts if number else None
        following = (w for w in said[number + 1 :] if w.keyword not in _WORDS_BEFORE_NAMES)
        found = next(following, None)
        return found.parts if found else None
    return None


def _of_grant(said: Sequence[Word]) -> Name | None:
    for number, word in enumerate(said[:-2]):
        if word.keyword == "ON":
            kind = said[number + 1].keyword
            return said[number + 2].parts if kind in ("TABLE", "SEQUENCE") else None
    return None


def _of_comment(said: Sequence[Word]) -> Name | None:
    kind = said[2].keyword
    if kind == "MATERIALIZED":
        return said[4].parts
    if kind in _COMMENTED:
        return said[3].parts
    if kind == "COLUMN":
        return said[3].parts[:-1]
    if kind == "STATISTICS":
        return ("statistics", *said[3].parts)
    if kind in ("CONSTRAINT", "TRIGGER", "RULE", "POLICY") and len(said) > 5:
        # Of CONSTRAINT c ON DOMAIN d this is a word without a schema.
        return said[5].parts if said[4].keyword == "ON" and len(said[5].parts) > 1 else None
    return None
