"""How a file is written: its encoding and what separates its values, found out and said.

The encoding is by the byte order mark, else UTF-8 if the whole file is that. What else it is cannot
be known: charset-normalizer, tried on files of a few names, took French, Spanish and Swedish for
windows-1250 each time, which spoils them silently. So it is windows-1252, which Excel saves in
Western Europe, if all words look like it, with a warning that shows some; else it must be said.
"""

import codecs
import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from backup_pipelines.csv import decoding
from backup_pipelines.csv.incoming import FileForm, Reading
from backup_pipelines.csv.places import SourceFile
from backup_pipelines.csv.records import Header, read_header
from backup_pipelines.errors import Refused

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
"""Those that are found out, in the order of preference, and what they are called."""

_NAMED = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|"}

# Longer marks first: that of UTF-16 begins that of UTF-32.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# How zip archives, and so workbooks, begin, and workbooks of older programs.
_PACKED = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")

_WESTERN = "cp1252"
_ELSE = ("cp1250", "cp1251", "cp1253", "cp1254", "cp850", "mac_roman", "cp932", "gb18030")
_CALLED = {
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "utf-32-le": "UTF-32",
    "utf-32-be": "UTF-32",
    "ascii": "ASCII",
    "cp850": "cp850",
    "cp932": "cp932",
    "mac_roman": "mac-roman",
}

# Words with letters beyond ASCII: enough to tell by, and some to show.
_WORDS = 2_000
_SHOWN = 4
_WORD = re.compile(rb"[0-9A-Za-z\x80-\xff]++")

# A line that is longer is looked at in parts.
_LONGEST_LINE = 8 * decoding.PIECE_BYTES

# Letters of windows-1252 in whose place its neighbours have commoner ones.
_RARE = frozenset("ðÐþÞýÝŸŠšŽž")
# Signs that may stand between two letters.
_JOINING = frozenset("\u2018\u2019\u2026·\xa0\xad")

_HEAD_BYTES = 4 * decoding.PIECE_BYTES


@dataclass(frozen=True)
class Recognised:
    """How one file is written, and its header."""

    form: FileForm
    warning: str = ""
    """What people should look at, since it could be otherwise."""


@dataclass(frozen=True)
class Unknown:
    """A file whose encoding nobody can tell."""

    line: int
    value: str
    reason: str


@dataclass(frozen=True)
class _Encoding:
    name: str
    has_bom: bool
    in_words: str
    warning: str = ""


def recognise(file: SourceFile, names: Collection[str], reading: Reading) -> Recognised | Unknown:
    """How a file is written, by its bytes and by the names that its header can have.

    Raises Refused for an encoding or a delimiter that is none, or a file that cannot be read.
    """
    begin = _begin(file)
    if begin.startswith(_PACKED):
        return Unknown(1, "", "it is a workbook or an archive, not CSV: save it as CSV")
    found = _given(begin, reading.encoding) if reading.encoding else _encoding(file, begin)
    if isinstance(found, Unknown):
        return found
    head = _head(file, found.name)
    delimiter, why = (
        (known_delimiter(reading.delimiter), "as said")
        if reading.delimiter
        else _delimiter(head, names)
    )
    if set(reading.null) & {delimiter, '"', "\r", "\n"}:
        raise Refused(
            f"{reading.null!r} cannot stand for NULL, since no value without quotes reads like "
            f"that in {file.name}: choose another text"
        )
    called = DELIMITERS.get(delimiter, f"{delimiter!r}")
    words = f"{found.in_words}, separated by {called} ({why})"
    return Recognised(FileForm(found.name, delimiter, found.has_bom, words), found.warning)


def known_delimiter(text: str) -> str:
    """The character that is meant; raises Refused for what cannot separate values."""
    found = _NAMED.get(text.lower(), text)
    if len(found) != 1 or found in '"\r\n\0' or found.isalnum():
        raise Refused(
            f"{text!r} separates no values: say comma, semicolon, tab, pipe or another character"
        )
    return found


def _given(begin: bytes, name: str) -> _Encoding | Unknown:
    encoding = decoding.known_encoding(name)
    marked = _marked(begin)
    if marked and marked != encoding and encoding != marked[: len("utf-16")]:
        other = _called(marked)
        return Unknown(
            1,
            "",
            f"the file is said to be {_called(encoding)} and begins with the mark of {other}: "
            "say no encoding",
        )
    return _Encoding(encoding, bool(marked), f"{_called(encoding)} as said")


def _encoding(file: SourceFile, begin: bytes) -> _Encoding | Unknown:
    if marked := _marked(begin):
        return _Encoding(marked, True, f"{_called(marked)} by its mark")
    if wide := _unmarked_wide(begin):
        return _Encoding(wide, False, f"{_called(wide)} by its NUL bytes")
    if _is_utf8(file):
        return _Encoding("utf-8", False, "UTF-8")
    return _western(file)


def _begin(file: SourceFile) -> bytes:
    with file.open() as stream:
        return stream.read(4096)


def _marked(begin: bytes) -> str:
    return next((name for mark, name in _MARKS if begin.startswith(mark)), "")


def _unmarked_wide(begin: bytes) -> str:
    """UTF-16 without a mark: of mostly ASCII texts every other byte is NUL."""
    even, odd = begin[0::2].count(0), begin[1::2].count(0)
    most = len(begin) // 4
    if odd > most and not even:
        return "utf-16-le"
    return "utf-16-be" if even > most and not odd else ""


def _is_utf8(file: SourceFile) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for data in _pieces(file):
            decoder.decode(data)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _pieces(file: SourceFile) -> Iterator[bytes]:
    with file.open() as stream:
        while data := stream.read(decoding.PIECE_BYTES):
            yield data


def _western(file: SourceFile) -> _Encoding | Unknown:
    """windows-1252, if that is what the file looks like."""
    words = _words(file)
    odd = next((word for word in words if not _looks_western(word)), None)
    if odd is not None:
        readings = ", ".join(_readings(odd))
        return Unknown(
            words[odd],
            odd.decode(_WESTERN, "backslashreplace"),
            f"the file is not UTF-8, and does not look like windows-1252: say its encoding "
            f"(--encoding), by which this is read right: {readings}",
        )
    first = list(words)[:_SHOWN]
    shown = ", ".join(f"{word.decode(_WESTERN)} (line {words[word]})" for word in first)
    warning = (
        f"the file is not UTF-8 and is read as windows-1252: look whether this is right: {shown}; "
        "if not, say its encoding (--encoding)"
    )
    return _Encoding(_WESTERN, False, "windows-1252, since it is not UTF-8", warning)


def _words(file: SourceFile) -> dict[bytes, int]:
    """Words with bytes beyond ASCII, and the line that each is first in."""
    words: dict[bytes, int] = {}
    line, rest = 1, b""
    for data in _pieces(file):
        *whole, rest = (rest + data).split(b"\n")
        for text in whole:
            _add_words(words, text, line)
            line += 1
        if len(rest) > _LONGEST_LINE:
            _add_words(words, rest, line)
            rest = b""
        if len(words) >= _WORDS:
            return words
    _add_words(words, rest, line)
    return words


def _add_words(words: dict[bytes, int], text: bytes, line: int) -> None:
    if not text.isascii():
        for word in _WORD.findall(text):
            if not word.isascii():
                words.setdefault(word, line)


def _looks_western(word: bytes) -> bool:
    try:
        text = word.decode(_WESTERN)
    except UnicodeDecodeError:
        return False
    return not (_RARE & set(text)) and not any(map(_is_odd, _neighbours(text)))


def _neighbours(text: str) -> Iterator[tuple[str, str, str]]:
    return zip(" " + text, text, text[1:] + " ", strict=False)


def _is_odd(letters: tuple[str, str, str]) -> bool:
    """Whether no word of Western Europe has the letter in the middle between the others."""
    before, here, after = letters
    if here.isascii():
        return False
    if here.isalpha():
        in_a_row = all(one.isalpha() and not one.isascii() for one in letters)
        return in_a_row or (here.isupper() and before.islower())
    if before.isalpha() and after.isalpha():
        return here not in _JOINING and unicodedata.category(here) != "Pd"
    # As in `£ukasz`, which is a Polish name.
    return after.isalpha() and unicodedata.category(here) in ("Sc", "Sk", "Sm", "No")


def _readings(word: bytes) -> Iterator[str]:
    """What a word would be in other encodings, where it would be one."""
    for name in (_WESTERN, *_ELSE):
        try:
            text = word.decode(name)
        except UnicodeDecodeError:
            continue
        if text.isprintable():
            yield f"{_called(name)} {text}"


def _called(encoding: str) -> str:
    return _CALLED.get(encoding, encoding.replace("cp125", "windows-125"))


def _head(file: SourceFile, encoding: str) -> str:
    """The text that the header is looked for in."""
    pieces: list[str] = []
    size = 0
    with file.open() as stream:
        for piece in decoding.texts(stream, encoding):
            pieces.append(piece)
            size += len(piece)
            if size >= _HEAD_BYTES or "\n" in piece or "\r" in piece:
                break
    return "".join(pieces)


def _delimiter(head: str, names: Collection[str]) -> tuple[str, str]:
    """The one by which the header has the most names that are known, then the most names."""
    found = {each: _cells(head, each) for each in DELIMITERS}
    scores = {
        each: (sum(cell in names for cell in cells), len(cells)) for each, cells in found.items()
    }
    best = max(DELIMITERS, key=lambda each: scores[each])
    known, cells = scores[best]
    if cells == 1:
        return ",", "the header has one name"
    return best, f"by the header, where {known} of {cells} names are known"


def _cells(head: str, delimiter: str) -> tuple[str, ...]:
    found = read_header(head + "\n", delimiter)
    return found.names if isinstance(found, Header) else ()
