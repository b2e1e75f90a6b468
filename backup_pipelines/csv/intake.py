"""Laying the rows of files aside: as texts in Parquet parts, in a store of the import's own."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from backup_pipelines import layout
from backup_pipelines.csv import decoding, headers
from backup_pipelines.csv.catalog import TableFacts
from backup_pipelines.csv.headers import Matched
from backup_pipelines.csv.incoming import LINE, AskedImport, FileForm, Incoming
from backup_pipelines.csv.places import SourceFile
from backup_pipelines.csv.problems import Problem, Problems
from backup_pipelines.csv.recognition import Recognised, recognise
from backup_pipelines.csv.records import Records, Rows
from backup_pipelines.csv.source import Found
from backup_pipelines.manifest import Part, Table
from backup_pipelines.pace import Amount
from backup_pipelines.postgres.part_files import part_file
from backup_pipelines.progress import Meter, Report
from backup_pipelines.storage.encrypting import EncryptingWriter
from backup_pipelines.storage.object_writer import ObjectWriter
from backup_pipelines.storage.reading import read_back
from backup_pipelines.storage.store import Store
from backup_pipelines.wording import count

# As those of a backup (postgres/reader.py).
_PART_BYTES = 240 * 1024 * 1024

# The store is the import's own, and has nothing else.
_SYSTEM, _ID = "import", "rows"


@dataclass(frozen=True)
class _Header:
    """A file of which all but its rows is known."""

    file: SourceFile
    matched: Matched
    form: FileForm
    warnings: tuple[str, ...]


def lay_aside(
    asked: AskedImport,
    facts: Mapping[str, TableFacts],
    files: Found,
    store: Store,
    problems: Problems,
    report: Report,
) -> list[Incoming]:
    """Read the files and write their rows into the store; `facts` are by qualified table.

    Rows that cannot be read are noted as problems and left out, as is a file without a header.
    Raises Refused for a request that does not fit the files, or a file that cannot be read.
    """
    found = [
        header
        for table, file in files.by_table.items()
        if (header := _header(file, facts[table], asked, problems)) is not None
    ]
    headers.refuse_unfitting(asked, [one.matched for one in found])
    for one in found:
        problems.add(one.matched.problems)
    total = Amount(bytes=sum(one.file.size_bytes for one in found))
    with Meter("reading files", report, total) as meter:
        return [_lay_aside(one, asked, store, problems, meter) for one in found]


def _header(
    file: SourceFile, facts: TableFacts, asked: AskedImport, problems: Problems
) -> _Header | None:
    names = headers.known_names(file.name, facts, asked)
    found = recognise(file, names, asked.reading)
    if not isinstance(found, Recognised):
        problems.add(
            [Problem(file.name, found.line, "", found.value or None, "encoding", found.reason)]
        )
        return None
    with file.open() as stream:
        records = _records(file, stream, found.form, asked, problems)
        header = records.header
    if header is None:
        return None
    matched = headers.match(file.name, header.names, header.line, facts, asked)
    return _Header(file, matched, found.form, (found.warning,) if found.warning else ())


def _records(
    file: SourceFile,
    stream: decoding.Readable,
    form: FileForm,
    asked: AskedImport,
    problems: Problems,
) -> Records:
    pieces = decoding.texts(stream, form.encoding)
    return Records(file.name, pieces, form.delimiter, asked.reading.null, problems)


def _lay_aside(
    one: _Header, asked: AskedImport, store: Store, problems: Problems, meter: Meter
) -> Incoming:
    started = time.monotonic()
    table = one.file.table
    with one.file.open() as stream:
        counted = _Counted(stream, meter, one.file.name)
        records = _records(one.file, counted, one.form, asked, problems)
        parts = _write_parts(
            store,
            _batches(records, one.matched, meter),
            _schema(one.matched),
            lambda number: layout.part_key(_SYSTEM, _ID, table.schema, table.name, number),
        )
    one.file.refuse_changed()
    warnings = list(one.warnings)
    if records.empty_lines:
        warnings.append(f"{count(records.empty_lines, 'empty line')} passed over")
    return Incoming(
        file=one.file.name,
        facts=one.matched.facts,
        form=one.form,
        columns=tuple(one.matched.columns),
        headers={name: one.matched.names[at] for name, at in one.matched.columns.items()},
        ignored=one.matched.ignored,
        table=_table(one, parts, time.monotonic() - started),
        warnings=tuple(warnings),
    )


def _table(one: _Header, parts: list[Part], seconds: float) -> Table:
    live = one.matched.facts.table
    described = {column.name: column.described() for column in live.columns}
    as_text = {"encoding": "text", "arrow_type": str(pa.string())}
    return Table(
        schema=live.schema,
        name=live.name,
        module=one.file.table.module,
        columns=tuple(described[name].model_copy(update=as_text) for name in one.matched.columns),
        primary_key=live.primary_key,
        rows=sum(part.rows for part in parts),
        digest="",
        size_bytes=sum(part.size_bytes for part in parts),
        source_bytes=one.file.size_bytes,
        seconds=round(seconds, 3),
        parts=tuple(parts),
    )


def _schema(matched: Matched) -> pa.Schema:
    fields = [(name, pa.string()) for name in matched.columns]
    return pa.schema([(LINE, pa.int64()), *fields])


class _Counted:
    """A file that tells a meter what is read of it."""

    def __init__(self, stream: decoding.Readable, meter: Meter, name: str) -> None:
        self._stream, self._meter, self._name = stream, meter, name

    def read(self, size: int, /) -> bytes:
        """The next bytes; none at the end."""
        data = self._stream.read(size)
        self._meter.add(bytes=len(data), what=self._name)
        return data


def _batches(records: Records, matched: Matched, meter: Meter) -> Iterator[pa.RecordBatch]:
    schema, places = _schema(matched), list(matched.columns.values())
    for rows in records.rows():
        yield _batch(rows, places, schema)
        meter.add(len(rows.lines), what=matched.file)


def _batch(rows: Rows, places: list[int], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [rows.lines, *(rows.columns[place] for place in places)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _write_parts(
    store: Store,
    batches: Iterator[pa.RecordBatch],
    schema: pa.Schema,
    key_of: Callable[[int], str],
) -> list[Part]:
    """As many parts as the rows need, each read back; one where there are none."""
    parts: list[Part] = []
    head = next(batches, None)
    while head is not None or not parts:
        key = key_of(len(parts))
        with store.writer(key) as sink:
            rows, head = _write_one(sink, schema, head, batches)
        read_back(store, key, sink.size_bytes, sink.sha256)
        parts.append(
            Part(key=key, rows=rows, size_bytes=sink.size_bytes, sha256=sink.sha256, digest="")
        )
    return parts


def _write_one(
    sink: ObjectWriter | EncryptingWriter,
    schema: pa.Schema,
    head: pa.RecordBatch | None,
    batches: Iterator[pa.RecordBatch],
) -> tuple[int, pa.RecordBatch | None]:
    """Write one part; returns its rows and the next part's first batch."""
    rows = 0
    with part_file("parquet", sink, schema, head) as write:
        while head is not None and sink.size_bytes < _PART_BYTES:
            write(head)
            rows += head.num_rows
            head = next(batches, None)
    return rows, head
