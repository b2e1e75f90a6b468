"""What a restore costs: everything into an empty database, and few rows that somebody lost."""

import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg

from benchmarks.bench import Bench, Source, size_of
from benchmarks.figures import Figure, Grid, Section
from benchmarks.measuring import Run, in_turns, run
from benchmarks.page import number

# Where in the table somebody deletes rows by mistake.
_LOST_AT = (0.0001, 0.001, 0.01, 0.1, 0.9)

_FULL = "ours, proved"
_SINGLE = "pg_restore --single-transaction"
_PARALLEL = "pg_restore -j2"

_PLAN = "plan of 5 lost rows"
_FEW = "5 lost rows written back"
_FEW_SAFE = "5 lost rows written back, safety backup first"

_MB = 1e6


def measure(bench: Bench) -> Section:
    """Both kinds of restore."""
    source = bench.crm(bench.scale)
    everything = _everything(bench, source)
    contacts = bench.contacts()
    few = _few_rows(bench, contacts)
    bench.forget(contacts)
    ours, parallel, single = everything[_FULL], everything[_PARALLEL], everything[_SINGLE]
    title, of_contacts = source.title, f"{contacts.rows:,} rows"
    whole = few[_FULL]
    figures = [
        Figure(f"restore of everything, {title}", ours.seconds, "s", _PARALLEL,
               parallel.seconds, 1.0),
        Figure(f"restore of everything in one transaction, {title}", ours.seconds, "s", _SINGLE,
               single.seconds),
        Figure(f"CPU of restore, client and server, {title}", ours.cpu, "CPU s", _PARALLEL,
               parallel.cpu),
        Figure("peak memory of a restore", ours.peak_bytes / _MB, "MB", goal=400.0),
        Figure("temporary files of a restore", ours.temp_bytes / _MB, "MB", goal=1.0),
        Figure(f"{_FEW}, {of_contacts}", few[_FEW].seconds, "s", "full restore of the same",
               whole.seconds, 0.2),
        Figure(f"{_FEW_SAFE}, {of_contacts}", few[_FEW_SAFE].seconds, "s",
               "full restore of the same", whole.seconds),
        Figure(f"{_PLAN}, {of_contacts}", few[_PLAN].seconds, "s", "full restore of the same",
               whole.seconds),
    ]  # fmt: skip
    grids = (
        _grid(f"Everything, {title}", everything, ours),
        _grid(f"Contacts and their notes, {of_contacts}", few, whole),
    )
    return Section("restore", "Restore", tuple(figures), grids)


def _everything(bench: Bench, source: Source) -> dict[str, Run]:
    print(f"restores of {source.title}", flush=True)
    store, dump = _backed_up(bench, source), bench.folder / bench.new_name()
    options = ("--no-sync", "-Fd", "-j2", "-Z", bench.peers.compression)
    bench.dump(source, *options, keep=dump)

    def theirs(option: str) -> Callable[[int], Run]:
        program = str(bench.peers.program("pg_restore"))
        return lambda _: _into_empty(bench, lambda url: [program, option, "-d", url, str(dump)])

    found = in_turns(
        {_FULL: _ours(bench, store), _PARALLEL: theirs("-j2"), _SINGLE: theirs(_SINGLE.split()[1])},
        bench.repeats,
    )
    shutil.rmtree(dump)
    shutil.rmtree(store)
    return found


def _few_rows(bench: Bench, source: Source) -> dict[str, Run]:
    print(f"few rows of {source.title}", flush=True)
    store = _backed_up(bench, source)

    def act(*words: str) -> Callable[[int], Run]:
        def lost_and_found(_: int) -> Run:
            _lose(source)
            bench.settled()
            found = run(
                bench.ours(words[0], store.as_uri(), source.url, *words[1:]),
                server=bench.server_pid,
            )
            if words[0] == "plan":
                # What was planned only is put back, unmeasured.
                run(
                    bench.ours("undo-changes", store.as_uri(), source.url),
                    server=bench.server_pid,
                )
            return found

        return lost_and_found

    found = in_turns(
        {
            _FULL: _ours(bench, store),
            _PLAN: act("plan"),
            _FEW: act("undo-changes"),
            _FEW_SAFE: act("undo-changes", "--safety"),
        },
        bench.repeats,
    )
    shutil.rmtree(store)
    return found


def _backed_up(bench: Bench, source: Source) -> Path:
    store = bench.folder / bench.new_name()
    bench.back_up(source, store, output=size_of(store))
    return store


def _ours(bench: Bench, store: Path) -> Callable[[int], Run]:
    return lambda _: _into_empty(bench, lambda url: bench.ours("restore", store.as_uri(), url))


def _into_empty(bench: Bench, command: Callable[[str], list[str]]) -> Run:
    url = bench.empty_database()
    try:
        bench.settled()
        return run(command(url), server=bench.server_pid)
    finally:
        bench.drop(url)


def _lose(source: Source) -> None:
    with psycopg.connect(source.url, autocommit=True) as connection:
        found = connection.execute("SELECT max(id) FROM contacts").fetchone()
        assert found is not None
        places = [max(1, int(found[0] * share)) for share in _LOST_AT]
        connection.execute("DELETE FROM contacts WHERE id = ANY(%s)", [places])


def _grid(title: str, found: dict[str, Run], ours: Run) -> Grid:
    rows = tuple(
        (
            name,
            number(one.seconds),
            number(one.seconds / ours.seconds),
            number(one.client_cpu),
            number(one.server_cpu),
            number(one.peak_bytes / _MB),
            number(one.temp_bytes / _MB),
        )
        for name, one in found.items()
    )
    heads = ("", "wall s", "over our full restore", "client CPU s", "server CPU s", "peak MB",
             "temporary files MB")  # fmt: skip
    return Grid(title, heads, rows)
