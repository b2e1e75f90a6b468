"""Which columns rows may not share: read from definitions of indexes and constraints.

Those of a backup are pg_dump's, those of a live database PostgreSQL's own; both name the columns
in the same words, within expressions too.
"""

import re
from collections.abc import Iterable

_WORD = re.compile(
    r"""
      '(?:[^']|'')*'
    | "(?P<quoted>(?:[^"]|"")+)"
    | (?P<plain>[^\W\d][\w$]*)
    """,
    re.VERBOSE,
)

_KINDS = [("UNIQUE", True), ("PRIMARY", True)]

Uniques = dict[str, set[str]]
"""By qualified table the words of its unique indexes and constraints, its columns among them."""


def uniques(definitions: Iterable[str]) -> Uniques:
    """The words of statements that make rows unique, or that let them exclude one another."""
    found: Uniques = {}
    for definition in definitions:
        words = list(_words(definition))
        table = _table(words)
        if table:
            found.setdefault(table, set()).update(_names(words))
    return found


def _words(text: str) -> list[tuple[str, bool]]:
    """The names and keywords of a statement, each with whether it stands without quotes."""
    return [
        (found["plain"], True)
        if found["quoted"] is None
        else (found["quoted"].replace('""', '"'), False)
        for found in _WORD.finditer(text)
        if found["quoted"] is not None or found["plain"] is not None
    ]


def _table(words: list[tuple[str, bool]]) -> str:
    """The table of ALTER TABLE [ONLY] s.t, or of CREATE [UNIQUE] INDEX i ON [ONLY] s.t."""
    # What stands without quotes and in capitals is a keyword.
    if words[:2] == [("ALTER", True), ("TABLE", True)]:
        place = 2
    elif words[:1] == [("CREATE", True)] and ("INDEX", True) in words[:3]:
        place = words.index(("INDEX", True)) + 3
    else:
        return ""
    place += words[place : place + 1] == [("ONLY", True)]
    return ".".join(name for name, _ in words[place : place + 2])


def _names(words: list[tuple[str, bool]]) -> set[str]:
    """The names behind the method of an index, or behind the kind of a constraint."""
    if ("USING", True) in words:
        start = words.index(("USING", True)) + 2
    else:
        kinds = [place for place, word in enumerate(words) if word in _KINDS]
        start = kinds[0] if kinds else len(words)
    return {name for name, is_bare in words[start:] if not (is_bare and name.isupper())}
