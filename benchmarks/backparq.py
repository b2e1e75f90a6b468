"""Rows a second beside backparq, both into a bucket of the same S3 server on this machine."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import yaml
from psycopg.conninfo import conninfo_to_dict

from backup_pipelines_tests.fix_s3 import S3Server, rclone
from benchmarks.bench import Bench, Source
from benchmarks.figures import Figure
from benchmarks.measuring import CommandFailed, Run, folder_bytes, in_turns, run

# It reads a table by the months of one column, which must never be NULL, and guesses types from
# the first rows: of these tables it can.
_TABLES = ("contacts", "leads", "deals", "task_comments", "meeting_notes")

_BACKPARQ = "backparq"


@dataclass(frozen=True)
class Compared:
    """What came of it; notes say what it could not do."""

    figures: Sequence[Figure]
    notes: Sequence[str]


def against_backparq(bench: Bench) -> Compared:
    """Measure the same tables by both."""
    source = bench.crm(bench.scale)
    what = f"export of {', '.join(_TABLES)} to S3, {source.title}"
    if bench.peers.python is None:
        figure = Figure(what, 0.0, "rows a second", _BACKPARQ, None, 10.0, at_least=True)
        return Compared([figure], [])
    print(what, flush=True)
    place = bench.folder / bench.new_name()
    place.mkdir()
    rows = _rows(source)
    with rclone(place) as server:
        contenders: dict[str, Callable[[int], Run]] = {
            "ours": lambda _: _ours(bench, source, server, place),
            _BACKPARQ: lambda _: _backparq(bench, source, server, place, rows),
        }
        try:
            found = in_turns(contenders, bench.repeats)
        except CommandFailed as error:
            return Compared([], [f"backparq does not work on these tables: {error}"])
    speeds = {name: rows / one.seconds for name, one in found.items()}
    figure = Figure(
        what, speeds["ours"], "rows a second", _BACKPARQ, speeds[_BACKPARQ], 10.0, at_least=True
    )
    sizes = {name: one.bytes_out / 1e6 for name, one in found.items()}
    bytes_out = Figure(f"size of {what}", sizes["ours"], "MB", _BACKPARQ, sizes[_BACKPARQ])
    return Compared([figure, bytes_out], [])


def _rows(source: Source) -> int:
    with psycopg.connect(source.url) as connection:
        counts = [
            connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchone()
            for name in _TABLES
        ]
    return sum(found[0] for found in counts if found)


def _ours(bench: Bench, source: Source, server: S3Server, place: Path) -> Run:
    bench.settled()
    stored = folder_bytes(place / "data")
    tables = [word for name in _TABLES for word in ("--table", f"public.{name}")]
    return run(
        bench.ours("backup", source.url, f"s3://{server.bucket()}", *tables),
        server=bench.server_pid,
        output=lambda: folder_bytes(place / "data") - stored,
        environment=server.environment(),
    )


def _backparq(bench: Bench, source: Source, server: S3Server, place: Path, rows: int) -> Run:
    bench.settled()
    stored = folder_bytes(place / "data")
    work = bench.folder / bench.new_name()
    work.mkdir()
    config = work / "backparq.yaml"
    config.write_text(yaml.safe_dump(_config(source, server, work)))
    found = run(
        [str(bench.peers.python), "-m", "backparq", "archive", "--config", config],
        server=bench.server_pid,
        output=lambda: folder_bytes(place / "data") - stored,
        environment=server.environment(),
    )
    # It ends with success when a chunk could not be read.
    documents = (work / "data").rglob("*.manifest.json")
    exported = sum(json.loads(one.read_text())["exported_rows"] for one in documents)
    if exported != rows:
        raise CommandFailed(f"it exported {exported:,} of {rows:,} rows")
    return found


def _config(source: Source, server: S3Server, work: Path) -> dict[str, object]:
    parts = conninfo_to_dict(source.url)
    return {
        "database": {
            "host": parts["host"],
            "port": int(str(parts["port"])),
            "name": parts["dbname"],
            "user": parts["user"],
            "password": "unused",
        },
        "s3": {
            "bucket": server.bucket(),
            "region": "us-east-1",
            "endpoint_url": server.endpoint,
            "access_key_id": server.access_key,
            "secret_access_key": server.secret_key,
            "addressing_style": "path",
        },
        "parquet": {"compression": "zstd"},
        "archive": {
            "mode": "backup",
            "tables": [f"public.{name}" for name in _TABLES],
            "base_dir": str(work / "data"),
            "order_by": "created_at",
            "concurrency": 2,
            "perform_delete": False,
        },
    }
