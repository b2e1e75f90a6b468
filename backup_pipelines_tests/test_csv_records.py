"""The records of CSV files: any table is read back as it was written, any wrong record is told."""

import csv
import io
import time
from collections.abc import Iterator, Sequence

import pandas as pd
import psutil
import pyarrow.csv as pacsv
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from backup_pipelines.csv import decoding, records
from backup_pipelines.csv import form as csv_form
from backup_pipelines.csv.null import NULL
from backup_pipelines.csv.problems import Problem, problems
from backup_pipelines.csv.records import Records
from backup_pipelines.errors import Refused
from backup_pipelines.scratch import scratch_folder

Row = list[str | None]

# All that a reader could stumble over, and any other character.
_TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            "\\N",
            '"\\N"',
            '"',
            '""',
            '","',
            ",",
            ";",
            "\n",
            "\r\n",
            "\r",
            "a\rb",
            "\ufeff",
            " x ",
        ]
    ),
    st.text(st.sampled_from('a",;\t|\r\n\\N\ufeffü€😀')),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
)
_NAMES = st.text(st.sampled_from('ab",;\n\\ ü'), min_size=1, max_size=5)


@st.composite
def _tables(draw: st.DrawFn, values: st.SearchStrategy[str | None]) -> tuple[list[str], list[Row]]:
    names = draw(st.lists(_NAMES, min_size=1, max_size=4))
    row = st.lists(values, min_size=len(names), max_size=len(names))
    return names, draw(st.lists(row, max_size=8))


@pytest.fixture(autouse=True, params=[7, 1024 * 1024], ids=["cut", "whole"])
def _pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is read in pieces of a few bytes too, so that they are cut everywhere."""
    monkeypatch.setattr(decoding, "PIECE_BYTES", request.param)
    monkeypatch.setattr(records, "_PIECE", request.param)


def read(
    data: bytes, delimiter: str = ",", *, encoding: str = "utf-8", null: str = NULL
) -> tuple[tuple[str, ...], list[tuple[int, Row]], list[Problem], int]:
    """Header, rows with their lines, problems, and how many lines were empty."""
    with scratch_folder() as folder, problems(folder) as found:
        pieces = decoding.texts(io.BytesIO(data), encoding)
        reader = Records("x.csv", pieces, delimiter, null, found)
        rows: list[tuple[int, Row]] = []
        for some in reader.rows():
            columns = [column.to_pylist() for column in some.columns]
            rows += [
                (line, list(row))
                for line, *row in zip(some.lines.to_pylist(), *columns, strict=True)
            ]
        names = reader.header.names if reader.header else ()
        return names, rows, list(found.in_order()), reader.empty_lines


def expected_lines(data: str, starts: Sequence[int]) -> list[int]:
    """The physical lines of places in a text, as an editor counts them."""
    return [data.count("\n", 0, start) + 1 for start in starts]


@given(_tables(st.none() | _TEXTS), st.booleans(), st.sampled_from(["utf-8", "utf-16", "utf-32"]))
@example((["a"], [[""], [None], ["\\N"]]), True, "utf-8")
@settings(deadline=None)
def test_what_an_export_writes_is_read_back(
    table: tuple[list[str], list[Row]], bom: bool, encoding: str
) -> None:
    """With NULL, '' and a text that reads like NULL apart, and each row's line."""
    names, rows = table
    written = [csv_form.header(names), *map(csv_form.line, rows)]
    text = b"".join(written).decode()
    data = text.encode(encoding) if encoding != "utf-8" else csv_form.BOM * bom + text.encode()
    starts = [len(b"".join(written[: n + 1]).decode()) for n in range(len(rows))]
    found = read(data, encoding=encoding)
    lines = expected_lines(text, starts)
    assert found == (tuple(names), list(zip(lines, rows, strict=True)), [], 0)


@given(
    _tables(_TEXTS),
    st.sampled_from([",", ";", "\t", "|", "¦", "x"]),
    st.sampled_from(["\r\n", "\n"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    st.booleans(),
)
@settings(deadline=None)
def test_what_python_writes_is_read_back(
    table: tuple[list[str], list[list[str]]], delimiter: str, end: str, quoting: int, ends: bool
) -> None:
    """In any dialect, whether its last line ends or not."""
    names, rows = table
    # Python leaves it without quotes then, so that it is part of the line's end.
    assume(quoting == csv.QUOTE_ALL or end == "\r\n" or not any("\r" in v for r in rows for v in r))
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow(names)
    starts: list[int] = []
    for row in rows:
        starts.append(len(out.getvalue()))
        writer.writerow(row)
    text = out.getvalue() if ends else out.getvalue().removesuffix(end)
    # What has no quotes and reads like NULL is NULL to us.
    if quoting == csv.QUOTE_MINIMAL:
        rows = [[None if value == NULL else value for value in row] for row in rows]  # type: ignore[misc]
    lines = expected_lines(text, starts)
    found = read(text.encode(), delimiter)
    assert found == (tuple(names), list(zip(lines, rows, strict=True)), [], 0)


@given(_tables(_TEXTS))
@settings(deadline=None)
def test_lines_may_end_in_cr_alone(table: tuple[list[str], list[list[str]]]) -> None:
    """As old programs for the Mac write them: then every line end counts as a line."""
    names, rows = table
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r", quoting=csv.QUOTE_ALL)
    writer.writerow(names)
    starts: list[int] = []
    for row in rows:
        starts.append(len(out.getvalue()))
        writer.writerow(row)
    text = out.getvalue()
    lines = [
        len(text[:start].replace("\r\n", "\n").replace("\r", "\n").split("\n")) for start in starts
    ]
    assert read(text.encode()) == (tuple(names), list(zip(lines, rows, strict=True)), [], 0)


def by_hand(text: str) -> list[list[str | None]] | None:
    """The records of a text, character by character; None where anything is wrong with one."""
    found: list[list[str | None]] = []
    values: list[str | None] = []
    place, size = 0, len(text)
    while place < size:
        value, is_quoted = "", text[place] == '"'
        place += is_quoted
        while place < size:
            if is_quoted and text[place] == '"' and text[place + 1 : place + 2] != '"':
                break
            if not is_quoted and text[place] in ',"\n':
                break
            place += is_quoted and text[place] == '"'
            value += text[place]
            place += 1
        if is_quoted and place == size:
            return None
        place += is_quoted
        is_empty = not values and not is_quoted and not value
        values.append(None if value == NULL and not is_quoted else value)
        if place == size or text[place] == "\n":
            found += [] if is_empty else [values]
            values = []
        elif text[place] != ",":
            return None
        elif place + 1 == size:
            found.append([*values, ""])
        place += 1
    return found if len({len(row) for row in found}) < 2 else None


@given(st.text(st.sampled_from('ab,"\n\\N'), max_size=40))
@settings(deadline=None, max_examples=1000)
@example('a,b\n"x,y\n"\n')
@example('"","\n"')
def test_any_text_is_read_as_by_hand(text: str) -> None:
    """Something is told of every text that is wrong, and of no other, and its rows are those."""
    meant = by_hand(text)
    names, rows, found, _ = read(text.encode())
    if meant:
        printed = [NULL if name is None else name for name in meant[0]]
        assert (list(names), [row for _, row in rows], found) == (printed, meant[1:], [])
    else:
        assert found


@given(st.text(st.sampled_from('ab,"\n\r\\N\0\ufeff'), max_size=40))
@settings(deadline=None)
def test_every_line_is_told_of_once(text: str) -> None:
    """Whatever is in it: as a row or as a problem."""
    names, rows, found, _ = read(text.encode())
    assert all(len(row) == len(names) for _, row in rows)
    lines = [line for line, _ in rows] + [one.line for one in found]
    assert len(set(lines)) == len(lines)
    assert names or lines == [1]


def test_other_readers_agree_about_values() -> None:
    """pyarrow about every value and NULL; pandas and Python about all but NULL in quotes."""
    rows: list[Row] = [[None, "\\N"], ["", "a\nb"], ['"', ","], ["x", "ü"]]
    data = csv_form.header(["a", "b"]) + b"".join(map(csv_form.line, rows))
    _, ours, _, _ = read(data)
    assert [row for _, row in ours] == rows
    arrow = pacsv.read_csv(
        io.BytesIO(data),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            null_values=[NULL],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            column_types={"a": "string", "b": "string"},
        ),
    )
    assert [list(row.values()) for row in arrow.to_pylist()] == rows
    frame = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, na_filter=False)
    printed = [[NULL if v is None else v for v in row] for row in rows]
    assert frame.to_numpy().tolist() == printed
    assert list(csv.reader(io.StringIO(data.decode(), newline="")))[1:] == printed


_BROKEN = {
    "no end": (b'a,b\n1,2\n"3,4\n', [2], [(3, "quotes", "never closes (line 3)")]),
    "no end, in a later line": (
        b'a,b\n"1\n1","2\n3,4\n5""5',
        [],
        [(2, "quotes", "never closes (line 3); nothing after it could be read")],
    ),
    "no end, and rows follow": (b'a,b\n"1,2\n3,4\n5,""\n', [3, 4], [(2, "quotes", "never closes")]),
    "text after": (b'a,b\n"1"x,2\n3,4\n', [3], [(2, "quotes", "text follows the quote")]),
    "text after, lines below": (
        b'a,b\n"1,2\n3,4\n5,"6"\n7,8\n',
        [3, 4, 5],
        [(2, "quotes", "(line 4)")],
    ),
    "blank after": (b'a,b\n"1" ,2\n', [], [(2, "quotes", "text follows the quote")]),
    "blank before": (b'a,b\n1, "2"\n', [], [(2, "quotes", "none around it")]),
    "inches": (b'a,b\n5",x\n6,"7"""\n', [3], [(2, "quotes", "put the value in quotes")]),
    "too few": (b"a,b\n1\n2,3\n", [3], [(2, "fields", "has 1 value, and the header names 2")]),
    "too many": (b"a,b\n1,2,3\n", [], [(2, "fields", "has 3 values, and the header names 2")]),
    "too many of one": (b"a\n1,\n", [], [(2, "fields", "2 values, and the header names 1 column")]),
    "NUL": (b"a,b\n1,x\0\n2,3\n", [3], [(2, "encoding", "a NUL byte")]),
    "CR": (b"a,b\n1,x\ry\n2,3\n", [3], [(2, "quotes", "carriage return")]),
    "bytes": (
        b'a,b\n1,M\xfcller\n2,3\n"4\n","\xff\xfe\xfa x \xe2\x82"\n',
        [3],
        [(2, "encoding", ": FC in hex"), (4, "encoding", ": FF FE FA, E2 82 in hex")],
    ),
    "all of it": (
        b'a,b\n1\n"2"2,2\n\n5,5\n6,\0\n7,8,9\n',
        [5],
        [(2, "fields", ""), (3, "quotes", ""), (6, "encoding", ""), (7, "fields", "")],
    ),
}


@pytest.mark.parametrize("case", _BROKEN)
def test_every_wrong_record_is_told_with_its_line(case: str) -> None:
    """And those around it are read."""
    data, lines, expected = _BROKEN[case]
    _, rows, found, _ = read(data)
    assert [line for line, _ in rows] == lines
    assert [(one.line, one.kind) for one in found] == [(line, kind) for line, kind, _ in expected]
    for one, (_, _, reason) in zip(found, expected, strict=True):
        assert reason in one.reason
        assert one.file == "x.csv"


def test_a_problem_says_which_value_it_is_about() -> None:
    """By the header's name, with the bytes that could not be read."""
    _, _, found, _ = read(b'a,b\n1,M\xfcller\n2,"x"y\n3,4,5"\n')
    assert [(one.column, one.value) for one in found] == [
        ("b", "M\\xFCller"),
        ("b", None),
        ("", None),
    ]


def test_bytes_of_utf_16_that_are_no_text_are_told() -> None:
    """A lone half of a character, and a last byte without its other half."""
    data = "a,b\n1,x\n2,y\n3,z".encode("utf-16-le").replace(b"y\0", b"\x3d\xd8")
    _, rows, found, _ = read(data + b"\x41", encoding="utf-16-le")
    assert [line for line, _ in rows] == [2]
    assert [(one.line, one.kind, one.reason[-14:]) for one in found] == [
        (3, "encoding", ": 3D D8 in hex"),
        (4, "encoding", "ing: 41 in hex"),
    ]


@pytest.mark.parametrize("null", ["", "NULL", "-"])
def test_null_is_what_is_said_without_quotes(null: str) -> None:
    """Also nothing at all, which PostgreSQL takes for NULL if it is not told otherwise."""
    data = f'a,b\n{null},"{null}"\n'.encode()
    assert read(data, null=null)[1] == [(2, [None, null])]


def test_empty_lines_are_no_rows() -> None:
    """Nor before the header; they are counted as lines. A value of one column needs its quotes."""
    assert read(b"\r\n\na,b\n\n1,2\n\r\n3,4\n\n") == (
        ("a", "b"),
        [(5, ["1", "2"]), (7, ["3", "4"])],
        [],
        3,
    )
    assert read(b'a\n\n""\nx\n') == (("a",), [(3, [""]), (4, ["x"])], [], 1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"\n\r\n", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b'a,"b\n1,2\n', "never closes"),
        (b'a,"b"x\n1,2\n', "text follows the quote"),
    ],
)
def test_a_file_needs_a_header(data: bytes, reason: str) -> None:
    """One that can be read: else nothing of the file is."""
    names, rows, found, _ = read(data)
    assert (names, rows) == ((), [])
    assert [(one.line, reason in one.reason) for one in found] == [(1, True)]


def test_a_missing_quote_costs_neither_memory_nor_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one problem, said as soon as the record is longer than any can be."""
    monkeypatch.setattr(records, "LONGEST_RECORD", 100_000)
    monkeypatch.setattr(decoding, "PIECE_BYTES", 10_000)
    monkeypatch.setattr(records, "_PIECE", 10_000)
    rows = b"1,2\n" * 200_000
    _, found, told, _ = read(b'a,b\n"0,0\n' + rows)
    assert len(found) == 200_000
    assert [(one.line, one.kind) for one in told] == [(2, "quotes")]
    assert "within 100,000 characters" in told[0].reason


def _numbered(data: Iterator[bytes]) -> io.RawIOBase:
    class Stream(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            del size
            return next(data, b"")

    return Stream()


def test_memory_stays_flat_however_long_a_file_is() -> None:
    """A million rows go through some 50 MB."""
    block = b"".join(
        csv_form.line([str(n), "Müller", None, 'say "hi"', "x" * 30]) for n in range(10_000)
    )
    stream = _numbered(iter([csv_form.header(list("abcde")), *[block] * 100]))
    process, rows, most = psutil.Process(), 0, 0
    with scratch_folder() as folder, problems(folder) as found:
        reader = Records("x.csv", decoding.texts(stream, "utf-8"), ",", NULL, found)
        before = process.memory_info().rss
        started = time.monotonic()
        for some in reader.rows():
            rows += len(some.lines)
            most = max(most, process.memory_info().rss)
        assert found.count == 0
    assert rows == 1_000_000
    assert most - before < 150_000_000
    assert time.monotonic() - started < 100


def test_a_header_with_bytes_that_are_not_of_the_encoding_is_told() -> None:
    """And shown as it is."""
    names, rows, found, _ = read(b"id,M\xfcll\n1,2\n")
    assert names == ("id", "M\\xFCll")
    assert rows == [(2, ["1", "2"])]
    assert [(one.line, one.column, one.kind) for one in found] == [(1, "M\\xFCll", "encoding")]


def test_a_header_of_more_names_than_a_table_has_is_told() -> None:
    """And so is a row of them, without counting."""
    assert [one.kind for one in read(b"," * 5_000_000)[2]] == ["fields"]
    assert [one.kind for one in read(b"a\n" + b"," * 5_000_000 + b"\nx\n")[2]] == ["fields"]
    wide = b",".join(b"c%d" % n for n in range(1600)) + b"\n"
    assert read(wide + b"," * 1599 + b"\n")[1] == [(2, [""] * 1600)]


@pytest.mark.parametrize("name", ["rot13", "base64", "idna", "nonsense", "raw_unicode_escape", ""])
def test_an_encoding_must_be_one_of_texts(name: str) -> None:
    """Others that Python has are refused."""
    with pytest.raises(Refused, match="is no encoding"):
        decoding.known_encoding(name)
