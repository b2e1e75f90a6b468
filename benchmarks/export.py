"""A whole backup beside what else reads a whole database, on each kind of data."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from backup_pipelines.postgres.reader import BACKUP_ADBC_DRIVER
from benchmarks import data
from benchmarks.backparq import against_backparq
from benchmarks.bench import Bench, Source, size_of
from benchmarks.figures import Figure, Grid, Section
from benchmarks.measuring import PROJECT, Run, in_turns, run
from benchmarks.page import number

_OURS = "ours"
_NO_DIGEST = "ours, without digest"
_DRIVER = f"ours, driver of {BACKUP_ADBC_DRIVER}"
_CUSTOM = "pg_dump -Fc"
_DUCKDB = "DuckDB, scanner to Parquet"
_LIMIT = "COPY (FORMAT binary) to nowhere"

# One COPY reads about this many pages, 32 MB, of a table.
_PAGES = 4096

_MB = 1e6


def measure(bench: Bench) -> Section:
    """Every source, every contender."""
    largest = bench.crm(bench.scale)
    sources = [bench.crm(scale) for scale in bench.scales()]
    found = {source.title: contest(bench, source) for source in sources}
    for kind in data.table_makers(bench.scale):
        source = bench.table(kind)
        found[kind] = contest(bench, source)
        sources.append(source)
        bench.forget(source)
    top = found[largest.title]
    compared = against_backparq(bench)
    return Section(
        name="export",
        title="Export",
        figures=(*_figures(largest, top, bench), *compared.figures, *_memory(bench, found)),
        grids=tuple(_grid(source, found[source.title]) for source in sources),
        notes=(*_missing(bench), *compared.notes),
    )


def contest(bench: Bench, source: Source) -> dict[str, Run]:
    """The medians of all contenders on one source."""
    print(f"{source.title}: {source.rows:,} rows, {source.table_bytes / _MB:,.0f} MB", flush=True)

    def ours(*options: str) -> Callable[[int], Run]:
        return lambda _: bench.back_up(
            source, bench.folder / bench.new_name(), *options, keep=False
        )

    zstd = ("--no-sync", "-Fd", "-j2", "-Z", bench.peers.compression)
    contenders: dict[str, Callable[[int], Run]] = {
        _OURS: ours(),
        _NO_DIGEST: ours("--without-digest"),
        bench.peers.pg_dump: lambda _: bench.dump(source, *zstd),
        _CUSTOM: lambda _: bench.dump(source, "--no-sync", "-Fc"),
    }
    if bench.driver is not None:
        variables = {BACKUP_ADBC_DRIVER: bench.driver}
        contenders[_DRIVER] = lambda _: bench.back_up(
            source, bench.folder / bench.new_name(), keep=False, environment=variables
        )
    if bench.peers.python is not None:
        contenders[_DUCKDB] = lambda _: _duckdb(bench, source)
    contenders[_LIMIT] = lambda _: _copy(bench, source)
    return in_turns(contenders, bench.repeats)


def _duckdb(bench: Bench, source: Source) -> Run:
    bench.settled()
    into = bench.folder / bench.new_name()
    program = PROJECT / "benchmarks" / "peer_duckdb.py"
    command = [str(bench.peers.python), program, source.url, into]
    return run(command, server=bench.server_pid, output=size_of(into))


def _copy(bench: Bench, source: Source) -> Run:
    """Two psql processes, each with every second range of pages."""
    bench.settled()
    scripts = [bench.folder / bench.new_name() for _ in range(2)]
    _write_copies(source, scripts)
    psql = bench.peers.program("psql")
    options = ["-qX", "-v", "ON_ERROR_STOP=1", "-d", source.url, "-f"]
    words = both([str(psql), *options], scripts)
    return run(["sh", "-c", words], server=bench.server_pid)


def both(command: Sequence[str], scripts: Sequence[Path]) -> str:
    """What a shell has to do: the command with each of two scripts at once; fails if one does."""
    first, second = (f"{shlex.join([*command, str(script)])} > /dev/null" for script in scripts)
    # `wait` without a number would not say that one has failed.
    return f"{first} & one=$!; {second} & two=$!; wait $one; failed=$?; wait $two && exit $failed"


def _write_copies(source: Source, scripts: list[Path]) -> None:
    lines: list[list[str]] = [[], []]
    count = 0
    for name, pages in data.tables(source.url):
        for first in range(0, max(pages, 1), _PAGES):
            last = first + _PAGES
            end = f" AND ctid < '({last},0)'" if last < pages else ""
            lines[count % 2].append(
                f"COPY (SELECT * FROM {name} WHERE ctid >= '({first},0)'{end})"
                " TO STDOUT (FORMAT binary);\n"
            )
            count += 1
    for script, found in zip(scripts, lines, strict=True):
        script.write_text("".join(found))


def _figures(source: Source, found: Mapping[str, Run], bench: Bench) -> list[Figure]:
    ours, plain, limit = found[_OURS], found[_NO_DIGEST], found[_LIMIT]
    peers = [name for name in (bench.peers.pg_dump, _DUCKDB) if name in found]
    fastest = min(peers, key=lambda name: found[name].seconds)
    smallest = min(peers, key=lambda name: found[name].bytes_out)
    cheapest = min(peers, key=lambda name: found[name].cpu)

    def figure(what: str, value: float, unit: str, peer: str, other: float,
               goal: float | None = None) -> Figure:  # fmt: skip
        return Figure(f"{what}, {source.title}", value, unit, peer, other, goal)

    return [
        figure("export with digest", ours.seconds, "s", fastest, found[fastest].seconds, 1.0),
        figure("export without digest", plain.seconds, "s", fastest, found[fastest].seconds, 0.9),
        figure(
            "size of the backup",
            ours.bytes_out / _MB,
            "MB",
            smallest,
            found[smallest].bytes_out / _MB,
            1.0,
        ),
        figure(
            "CPU of export, client and server", ours.cpu, "CPU s", cheapest, found[cheapest].cpu
        ),
        figure("export with digest over the limit", ours.seconds, "s", _LIMIT, limit.seconds),
        figure("CPU of export over the limit", ours.cpu, "CPU s", _LIMIT, limit.cpu),
    ]


def _memory(bench: Bench, found: Mapping[str, Mapping[str, Run]]) -> list[Figure]:
    scales = bench.scales()
    peaks = [found[bench.crm(scale).title][_OURS].peak_bytes / _MB for scale in scales]
    largest = max(one[_OURS].peak_bytes for one in found.values()) / _MB
    temporary = max(one[_OURS].temp_bytes for one in found.values()) / _MB
    figures = [
        Figure("peak memory of a backup, all data", largest, "MB", goal=400.0),
        Figure("temporary files of a backup, all data", temporary, "MB", goal=1.0),
    ]
    if len(peaks) > 1:
        against = bench.crm(scales[-2]).title
        what = f"peak memory at {scales[-1]:g} times the demo"
        figures.append(Figure(what, peaks[-1], "MB", f"ours, {against}", peaks[-2], 1.15))
    return figures


def _grid(source: Source, found: Mapping[str, Run]) -> Grid:
    rows = tuple(
        (
            name,
            number(one.seconds),
            number(found[_OURS].seconds / one.seconds),
            number(one.work_seconds) if one.work_seconds else "",
            number(one.client_cpu),
            number(one.server_cpu),
            number(one.bytes_out / _MB) if one.bytes_out else "",
            f"{source.rows / one.seconds:,.0f}",
            number(one.peak_bytes / _MB),
        )
        for name, one in found.items()
    )
    heads = ("", "wall s", "ours over it", "wall s after imports", "client CPU s", "server CPU s",
             "MB out", "rows a second", "peak MB")  # fmt: skip
    title = f"{source.title}: {source.rows:,} rows, {source.table_bytes / _MB:,.0f} MB of tables"
    return Grid(title, heads, rows)


def _missing(bench: Bench) -> list[str]:
    return [f"Not measured: {name}. {why}." for name, why in bench.peers.missing.items()]
