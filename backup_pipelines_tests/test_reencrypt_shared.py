"""Backups that name each other's parts, encrypted anew: what they share is written once."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from backup_pipelines import catalog, layout
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.exporting import leftovers
from backup_pipelines.manifest import Manifest, Part
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.retention import removal
from backup_pipelines.storage.store import Store
from backup_pipelines.verify import verify
from backup_pipelines_tests.fix_backup import ignore
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_restore import MakeSite, Site
from backup_pipelines_tests.test_reencrypt import KilledInWriting, digests, left, run, system_for
from backup_pipelines_tests.test_reencrypt import keys as keys
from backup_pipelines_tests.tiny_backups import Killed

SCHEMA = (
    "CREATE TABLE big (id int PRIMARY KEY, name text)",
    "INSERT INTO big SELECT i, repeat(md5(i::text), 6) FROM generate_series(1, 6000) AS i",
    # Two parts with the same bytes.
    "CREATE TABLE one (id int)",
    "CREATE TABLE two (id int)",
)


@pytest.fixture
def site(server: EmbeddedServer, make_site: MakeSite, small_parts: None) -> Site:
    """A database whose backups have some parts each."""
    return make_site(server, *SCHEMA)


def history(site: Site) -> list[Manifest]:
    """Three backups, oldest first: each later one has a part of its own and names the others."""
    made = [site.back_up()]
    for number in (100, 3000):
        site.run(f"UPDATE big SET name = 'other' WHERE id = {number}")
        made.append(site.back_up())
    assert [entry.reuse is not None for entry in made] == [False, True, True]
    return made


def parts(entry: Manifest) -> list[Part]:
    """All parts."""
    return [part for table in entry.tables for part in table.parts]


def is_own(entry: Manifest, part: Part) -> bool:
    """Whether a part lies in the backup's folder."""
    return part.key.startswith(layout.backup_prefix(entry.system, entry.id))


def now(store: Store) -> list[Manifest]:
    """All backups, oldest first."""
    return catalog.backups(store, "sample")[::-1]


def test_what_backups_share_is_written_once(
    site: Site,
    keys: list[str],
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
) -> None:
    """Key after key, the copies share what the originals shared, and nothing else is left."""
    made = history(site)
    count = len({part.key for entry in made for part in parts(entry)})
    assert count < 2 * len(parts(made[0]))
    for named in ([keys[0]], [keys[1]], []):
        done = run(site.store, system_for(*named))
        copies = now(site.store)
        assert [one.new for one in done] == [copy.id for copy in copies]
        assert len({part.key for copy in copies for part in parts(copy)}) == count
        stored = [o.key for o in site.store.objects("sample/backups/") if "/data/" in o.key]
        assert len(stored) == count
        assert all(layout.is_encrypted(key) == bool(named) for key in stored)
        for copy, entry in zip(copies, made, strict=True):
            assert [is_own(copy, part) for part in parts(copy)] == [
                is_own(entry, part) for part in parts(entry)
            ]
            elsewhere = [part.size_bytes for part in parts(copy) if not is_own(copy, part)]
            assert (copy.reuse is None) == (entry.reuse is None)
            if copy.reuse and entry.reuse:
                assert copy.reuse.generation == entry.reuse.generation
                assert copy.reuse.backup in {other.id for other in copies}
                assert copy.reuse.parts == len(elsewhere) == entry.reuse.parts
                assert copy.reuse.size_bytes == sum(elsewhere)
            assert digests(copy) == digests(entry)
            verify(site.store, copy, report=ignore)
            url = make_database(server).admin_url
            restore_into_empty(site.store, copy, url, report=ignore)
        assert left(site.store, system_for(*named)) == []


def test_a_copy_that_is_hurt_is_not_named(site: Site, keys: list[str], tmp_path: Path) -> None:
    """What reads back different is written anew from the original, which is whole."""
    made = history(site)
    [first] = run(site.store, system_for(keys[0]), made[0].id)
    copy = catalog.load(site.store, "sample", first.new)
    shared = {(part.rows, part.digest) for part in parts(made[2]) if not is_own(made[2], part)}
    hurt = next(part for part in parts(copy) if (part.rows, part.digest) in shared)
    file = tmp_path / "store" / hurt.key
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    [third] = run(site.store, system_for(keys[0]), made[2].id)
    copy = catalog.load(site.store, "sample", third.new)
    assert copy.reuse is not None and copy.reuse.backup == first.new
    assert hurt.key not in {part.key for part in parts(copy)}
    assert not all(is_own(copy, part) for part in parts(copy))
    verify(site.store, copy, report=ignore)


def test_the_copy_that_is_named_may_be_removed_later(site: Site, keys: list[str]) -> None:
    """Its manifest goes, and what the others name stays."""
    history(site)
    run(site.store, system_for(keys[0]))
    first, *others = now(site.store)
    removed = removal.remove(
        site.store, "sample", first.id, operator="t", reason="r", why="w", report=ignore
    )
    assert not removed.problem and removed.kept > 0
    for copy in others:
        verify(site.store, copy, report=ignore)
    # The parts of one that is gone are not there twice after the next key, either.
    before = len({part.key for copy in others for part in parts(copy)})
    run(site.store, system_for(keys[1]))
    assert len({part.key for copy in now(site.store) for part in parts(copy)}) == before
    assert not [o for o in site.store.objects(f"sample/backups/{first.id}/") if "data" in o.key]


@pytest.mark.parametrize("at", range(1, 70, 6))
def test_killed_at_any_change_the_next_run_finishes(site: Site, keys: list[str], at: int) -> None:
    """Whatever the moment, every backup there is whole, and at the end each is there once."""
    made = history(site)
    system = system_for(keys[0])
    with suppress(Killed):
        run(KilledInWriting(site.store.url, at), system)
    for entry in now(site.store):
        verify(site.store, entry, report=ignore)
    leftovers.remove(site.store, "sample", ignore)
    run(site.store, system)
    leftovers.remove(site.store, "sample", ignore)
    copies = now(site.store)
    assert [copy.copy_of[-1] for copy in copies] == [entry.id for entry in made]
    for copy, entry in zip(copies, made, strict=True):
        assert digests(copy) == digests(entry)
        verify(site.store, copy, report=ignore)
