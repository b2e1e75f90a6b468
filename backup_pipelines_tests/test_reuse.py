"""What has not changed since an earlier backup is named by the next one, and not written again."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_pipelines import catalog, layout
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Damaged
from backup_pipelines.exporting import leftovers, reuse
from backup_pipelines.manifest import Manifest, Part
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.digest import compare
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.retention import prune, removal
from backup_pipelines.retention.reconcile import reconcile
from backup_pipelines.storage.store import Store
from backup_pipelines.verify import check, verify
from backup_pipelines_tests.fix_backup import back_up, ignore
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_restore import MakeSite, Site

SCHEMA = (
    "CREATE TABLE big (id int PRIMARY KEY, name text, at timestamptz, n numeric)",
    "INSERT INTO big SELECT i, repeat(md5(i::text), 6), timestamptz '2026-01-01' + i * interval"
    " '1 s', i / 7.0 FROM generate_series(1, 8000) AS i",
    "CREATE TABLE whole (id int PRIMARY KEY, name text)",
    "INSERT INTO whole SELECT i, md5(i::text) FROM generate_series(1, 2000) AS i",
    "CREATE TABLE tiny (id int)",
    "INSERT INTO tiny VALUES (1)",
)


@pytest.fixture
def site(server: EmbeddedServer, make_site: MakeSite, small_parts: None) -> Site:
    """A table of many ranges, one that is read in one go, and one that is too small to ask."""
    return make_site(server, *SCHEMA)


def parts(entry: Manifest, name: str = "public.big") -> tuple[Part, ...]:
    """The parts of one table."""
    return next(table.parts for table in entry.tables if table.qualified == name)


def own(entry: Manifest, name: str = "public.big") -> list[Part]:
    """Those that were written for this backup."""
    prefix = layout.backup_prefix(entry.system, entry.id)
    return [part for part in parts(entry, name) if part.key.startswith(prefix)]


def is_right(site: Site, entry: Manifest) -> None:
    """The backup is whole, and what it holds is what the database holds now."""
    assert verify(site.store, entry, report=ignore).objects > 0
    with connected(site.database.admin_url) as connection:
        assert compare(connection, entry.tables) == []


def added(store: Store, before: set[str]) -> int:
    """Bytes of the objects that are new."""
    return sum(o.size_bytes for o in store.objects("") if o.key not in before)


def keys(store: Store) -> set[str]:
    """All objects."""
    return {item.key for item in store.objects("")}


def test_nothing_is_written_again_where_nothing_has_changed(
    site: Site, server: EmbeddedServer, make_database: Callable[[Server], Database]
) -> None:
    """The second backup names the first's parts, and is restored alone when the first is gone."""
    first = site.back_up()
    assert first.reuse is None
    assert first.added_bytes == first.size_bytes
    before = keys(site.store)
    second = site.back_up()
    assert len(parts(first)) > 5
    assert [part.key for part in parts(second)] == [part.key for part in parts(first)]
    assert parts(second, "public.whole") == parts(first, "public.whole")
    assert own(second, "public.tiny") == list(parts(second, "public.tiny"))
    assert [t.digest for t in second.tables] == [t.digest for t in first.tables]
    assert second.reuse is not None
    assert (second.reuse.backup, second.reuse.generation) == (first.id, 1)
    assert second.reuse.parts == len(parts(first)) + 1
    manifest = len(site.store.get(layout.manifest_key("sample", second.id)))
    marker = len(site.store.get(layout.started_key("sample", second.id)))
    assert second.added_bytes == added(site.store, before) - manifest - marker
    is_right(site, second)

    removed = removal.remove(
        site.store, "sample", first.id, operator="t", reason="r", why="w", report=ignore
    )
    assert not removed.problem
    target = make_database(server)
    restore_into_empty(site.store, second, target.admin_url, report=ignore)
    with connected(target.admin_url) as connection:
        assert compare(connection, second.tables) == []
    # A third names the parts that are left of the first.
    third = site.back_up()
    assert [part.key for part in parts(third)] == [part.key for part in parts(first)]
    is_right(site, third)


def test_only_ranges_with_other_rows_are_written(site: Site) -> None:
    """One row costs its range; the row's new version may lie in another one."""
    first = site.back_up()
    site.run("UPDATE big SET name = 'other' WHERE id = 4000")
    second = site.back_up()
    assert 1 <= len(own(second)) <= 2
    assert len(parts(second)) == len(parts(first))
    assert not own(second, "public.whole")
    is_right(site, second)
    site.run("UPDATE whole SET name = 'x' WHERE id = 1")
    third = site.back_up()
    assert not own(third)
    assert own(third, "public.whole")
    assert {part.key for part in own(second)} <= {part.key for part in parts(third)}
    is_right(site, third)


def test_a_table_that_has_grown_keeps_its_ranges(site: Site) -> None:
    """New rows come after those that are known, in ranges of their own."""
    first = site.back_up()
    site.run(
        "INSERT INTO big SELECT i, repeat('x', 192), now(), i FROM generate_series(9001, 13000) i"
    )
    second = site.back_up()
    known = {part.key for part in parts(first)[:-1]}
    assert known <= {part.key for part in parts(second)}
    assert len(parts(second)) > len(parts(first)) + 2
    assert sum(part.rows for part in parts(second)) == 12_000
    is_right(site, second)
    assert not own(site.back_up())


@pytest.mark.parametrize(
    ("change", "written"),
    [
        ("DELETE FROM big WHERE id > 2000", "some"),
        ("DELETE FROM big WHERE id % 2 = 0", "all"),
        ("DELETE FROM big", "one"),
        ("UPDATE big SET n = n + 1", "all"),
    ],
)
def test_a_table_that_shrinks(site: Site, change: str, written: str) -> None:
    """Pages without rows at its end are cut off by VACUUM; the rows that stay are not forgotten."""
    first = site.back_up()
    site.run(change, "VACUUM big")
    second = site.back_up()
    is_right(site, second)
    if written == "some":
        assert 0 < len(own(second)) < len(parts(second)) < len(parts(first))
    elif written == "all":
        assert len(own(second)) == len(parts(second))
    else:
        assert [part.rows for part in parts(second)] == [0]
    site.run("VACUUM FULL big")
    is_right(site, site.back_up())


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE big ADD COLUMN more int",
        "ALTER TABLE big DROP COLUMN n",
        "ALTER TABLE big RENAME COLUMN name TO title",
        "ALTER TABLE big ALTER COLUMN id TYPE bigint",
        "ALTER TABLE big RENAME TO large",
    ],
)
def test_another_shape_is_written_anew(site: Site, change: str) -> None:
    """Parts are of the columns that the table had."""
    site.back_up()
    site.run(change)
    second = site.back_up()
    name = "public.large" if change.endswith("large") else "public.big"
    assert own(second, name) == list(parts(second, name))
    assert not own(second, "public.whole")
    is_right(site, second)


def test_columns_that_had_to_be_text_stay_text(site: Site) -> None:
    """Parts of one table have the same columns, and what another backup needs is not removed."""
    first = site.back_up()
    site.run("UPDATE big SET at = 'infinity' WHERE id = 1")
    second = site.back_up()
    # Read once more as text, the first range by itself would have been enough.
    assert len(own(second)) == len(parts(second))
    verify(site.store, first, report=ignore)
    is_right(site, second)
    third = site.back_up()
    assert not own(third)
    assert third.tables[0].columns == second.tables[0].columns
    is_right(site, third)


def test_another_format_is_written_anew(site: Site) -> None:
    """A backup of one format does not name parts of the other."""
    site.back_up()
    site.write_as("jsonl")
    second = site.back_up()
    assert second.reuse is None
    is_right(site, second)
    assert site.back_up().format_version == 2


def test_one_of_some_backups_in_a_row_is_full(site: Site) -> None:
    """An object that is lost then costs no more backups than that."""
    site.system = site.system.model_copy(update={"full_copy_every": 3})
    made = [site.back_up() for _ in range(5)]
    assert [m.reuse.generation if m.reuse else 0 for m in made] == [0, 1, 2, 0, 1]
    site.system = site.system.model_copy(update={"full_copy_every": 1})
    assert site.back_up().reuse is None


def test_a_damaged_part_is_written_anew(site: Site, tmp_path: Path) -> None:
    """The backup is whole, and says which other ones are not."""
    first = site.back_up()
    lost, hurt = parts(first)[1], parts(first)[2]
    site.store.delete([lost.key])
    file = tmp_path / "store" / hurt.key
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    second = site.back_up()
    assert [part.first_page for part in own(second)] == [lost.first_page, hurt.first_page]
    assert len(second.warnings) == 2
    assert all(f"{first.id} first" in warning for warning in second.warnings)
    is_right(site, second)
    with pytest.raises(Damaged, match="is damaged"):
        verify(site.store, first, report=ignore)


def test_one_that_is_known_to_be_damaged_is_not_built_on(site: Site, tmp_path: Path) -> None:
    """The newest would be, as long as nobody has found out; then an older one is."""
    first = site.back_up()
    second = site.back_up()
    [hurt] = own(second, "public.tiny")
    file = tmp_path / "store" / hurt.key
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    third = site.back_up()
    assert third.reuse is not None and third.reuse.backup == second.id
    removal.remove(site.store, "sample", third.id, operator="t", reason="r", why="w", report=ignore)
    with pytest.raises(Damaged, match="is damaged"):
        check(site.store, second, report=ignore)
    fourth = site.back_up()
    assert fourth.reuse is not None and fourth.reuse.backup == first.id
    is_right(site, fourth)


def test_a_backup_in_progress_keeps_what_it_builds_on(site: Site) -> None:
    """It cannot be deleted, nor pruned, until the other one is sealed or cleared away."""
    first = site.back_up()
    site.back_up()
    second = site.back_up()
    new = second.id[:-1] + ("1" if second.id.endswith("0") else "0")
    site.store.delete([layout.manifest_key("sample", new)])
    leftovers.mark_started(site.store, "sample", new, "t", builds_on=first.id)
    before = keys(site.store)
    done = removal.remove(
        site.store, "sample", first.id, operator="t", reason="r", why="w", report=ignore
    )
    assert f"backup {new}, which has begun and is not finished" in done.problem
    assert before <= keys(site.store)
    assert first.id in {entry.id for entry in catalog.listing(site.store, "sample").good}
    site.back_up()
    done = removal.remove(
        site.store, "sample", first.id, operator="t", reason="r", why="w", report=ignore
    )
    assert not done.problem


def test_what_is_being_removed_is_not_built_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removal that began between the choice and the marker has the backup write all anew."""
    first = site.back_up()
    find = reuse.find

    def and_then_remove(*given: object, **more: object) -> object:
        found = find(*given, **more)  # pyright: ignore[reportArgumentType]
        removal.remove(
            site.store, "sample", first.id, operator="t", reason="r", why="w", report=ignore
        )
        return found

    monkeypatch.setattr(reuse, "find", and_then_remove)
    second = site.back_up()
    assert second.reuse is None
    is_right(site, second)


def test_one_that_is_sealed_while_another_is_removed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In progress when the removal looks what is needed, and sealed when it looks who builds."""
    first = site.back_up()
    second = site.back_up()
    key = layout.manifest_key("sample", second.id)
    document = site.store.get(key)
    site.store.delete([key])
    append = removal.state_log.append

    def and_seal(*given: object, **more: object) -> object:
        if not site.store.exists(key):
            site.store.put_new(key, document)
        return append(*given, **more)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(removal.state_log, "append", and_seal)
    done = removal.remove(
        site.store, "sample", first.id, operator="t", reason="r", why="w", report=ignore
    )
    assert not done.problem
    assert done.kept == len(parts(first)) + 1
    is_right(site, second)


def test_prune_removes_what_no_backup_names(site: Site) -> None:
    """Each backup that stays is whole; what the last one names is all that is left."""
    site.system = site.system.model_copy(
        update={"retention": site.system.retention.model_copy(update={"keep_last": 2})}
    )
    made: list[Manifest] = []
    for number in range(5):
        site.run(f"UPDATE big SET name = 'n{number}' WHERE id = {number * 1500 + 1}")
        made.append(site.back_up())
        prune.prune(site.store, site.system, operator="t", reason="", report=ignore)
        kept = catalog.backups(site.store, "sample")
        assert [entry.id for entry in kept] == [entry.id for entry in made[-2:][::-1]]
        for entry in kept:
            verify(site.store, entry, report=ignore)
        later = datetime.now(UTC) + timedelta(days=3)
        found = reconcile(site.store, "sample", {entry.id for entry in kept}, now=later)
        assert found.agrees, found
    assert any(made[0].id in part.key for part in parts(made[-1]))


def test_a_safety_backup_builds_on_the_last_backup(site: Site) -> None:
    """At three in the morning the rows that are known need not be written again."""
    first = site.back_up()
    site.run("DELETE FROM big WHERE id < 100")
    site.restore(first, with_safety=True)
    [safety] = [entry for entry in catalog.backups(site.store, "sample") if entry.type == "safety"]
    assert safety.reuse is not None and safety.reuse.backup == first.id
    assert len(own(safety)) == 1
    site.undo()
    with connected(site.database.admin_url) as connection:
        assert compare(connection, safety.tables) == []


def test_a_full_copy_can_be_asked_for(site: Site) -> None:
    """Whatever the YAML says, this once."""
    site.back_up()
    entry = back_up(site.database.reader_url, site.store, site.system, full_copy=True)
    assert entry.reuse is None
    assert len(own(entry)) == len(parts(entry))
