"""Bytes of a file as text, in pieces; a byte that is not of the encoding is kept, marked.

A marked byte is a lone surrogate, which no decoded text has, so that a record with one can be told
from all others, and its bytes be shown.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Protocol

from backup_pipelines.errors import Refused

PIECE_BYTES = 1024 * 1024

_MARKS = "backup_pipelines.marks"
_FIRST_MARK = 0xDC00
_MARKED = re.compile("[\udc00-\udcff]+")

# Of host names and of Python's sources.
_OF_NO_FILE = ("idna", "punycode", "unicode_escape", "unicode-escape", "raw-unicode-escape")


class Readable(Protocol):
    """A file as far as it is needed here."""

    def read(self, size: int, /) -> bytes:
        """The next bytes; none at the end."""
        ...


def texts(stream: Readable, encoding: str) -> Iterator[str]:
    """The text without its byte order mark, in pieces that never part CR LF."""
    decoder = codecs.getincrementaldecoder(encoding)(_MARKS)
    held, is_first, is_last = "", True, False
    while not is_last:
        data = stream.read(PIECE_BYTES)
        is_last = not data
        piece = held + decoder.decode(data, is_last)
        held = "\r" if piece.endswith("\r") and not is_last else ""
        piece = piece[: len(piece) - len(held)]
        if is_first and piece:
            piece, is_first = piece.removeprefix("\ufeff"), False
        if piece:
            yield piece


def has_marks(text: str) -> bool:
    """Whether there are bytes that are not of the encoding."""
    try:
        # Much faster than to search.
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def marked_bytes(text: str) -> list[str]:
    """The bytes that are not of the encoding, in hex, those beside each other together."""
    return [
        " ".join(f"{ord(mark) - _FIRST_MARK:02X}" for mark in run) for run in _MARKED.findall(text)
    ]


def shown(text: str) -> str:
    """The text with its marks as `\\xNN`."""
    return _MARKED.sub(
        lambda run: "".join(f"\\x{ord(mark) - _FIRST_MARK:02X}" for mark in run[0]), text
    )


def known_encoding(name: str) -> str:
    """An encoding as Python calls it; raises Refused for what is none of texts."""
    try:
        "a".encode(name)
        found = codecs.lookup(name).name
        if found in _OF_NO_FILE:
            raise LookupError(name)
    except (LookupError, UnicodeError, ValueError) as error:
        raise Refused(
            f"{name!r} is no encoding that is known: write utf-8, windows-1252, iso-8859-15, "
            "utf-16 or another that Python knows"
        ) from error
    return "utf-8" if found == "utf-8-sig" else found


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(chr(_FIRST_MARK + byte) for byte in wrong), error.end


codecs.register_error(_MARKS, _mark)
