"""An object that several backups name is damaged in all of them, whoever finds it out."""

from pathlib import Path
from typing import Any

import pytest

from backup_pipelines import catalog, drill_record, layout, state_log
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.errors import Damaged, Failed, NotEqual
from backup_pipelines.manifest import Manifest
from backup_pipelines.restoring import load
from backup_pipelines.retention import prune
from backup_pipelines.storage.store import Store
from backup_pipelines.verify import check, verify
from backup_pipelines_tests.fix_backup import back_up, ignore
from backup_pipelines_tests.fix_restore import Site
from backup_pipelines_tests.test_reuse import is_right, own, parts
from backup_pipelines_tests.test_reuse import site as site


def damaged(site: Site) -> set[str]:
    """The backups that are known to be damaged."""
    return set(catalog.states(site.store, "sample").damaged)


def cut_short(tmp_path: Path, key: str) -> None:
    """Take the last byte of an object."""
    file = tmp_path / "store" / key
    file.write_bytes(file.read_bytes()[:-1])


def test_a_damaged_object_damages_every_backup_that_names_it(site: Site, tmp_path: Path) -> None:
    """Whichever is verified: none of them is good, and an older one of its own is not pruned."""
    site.system = site.system.model_copy(
        update={"retention": site.system.retention.model_copy(update={"keep_last": 2})}
    )
    independent = site.back_up()
    shared = back_up(site.database.reader_url, site.store, site.system, full_copy=True)
    others = [site.back_up(), site.back_up()]
    hurt = parts(shared)[1]
    assert all(hurt.key in {part.key for part in parts(entry)} for entry in others)
    cut_short(tmp_path, hurt.key)
    with pytest.raises(Damaged, match=f"damaged too: {shared.id}, {others[0].id}$"):
        check(site.store, others[1], report=ignore, operator="ann")
    assert damaged(site) == {shared.id, *(entry.id for entry in others)}
    newest = state_log.latest(site.store, "sample", "verifications")[shared.id]
    said = state_log.content(site.store, newest)
    assert said["operator"] == "ann"
    assert f"objects of {others[1].id} were read" in said["message"]
    assert f"{hurt.key} has " in said["message"]
    assert catalog.find(site.store, "sample", "latest").id == independent.id
    prune.prune(site.store, site.system, operator="t", reason="", report=ignore)
    verify(site.store, catalog.load(site.store, "sample", independent.id), report=ignore)


def test_what_a_backup_finds_damaged_is_remembered(site: Site, tmp_path: Path) -> None:
    """Of all that name it, though nobody has verified them; the new one is whole, and warns."""
    first, second = site.back_up(), site.back_up()
    lost, hurt = parts(first)[1], parts(first)[2]
    site.store.delete([lost.key])
    cut_short(tmp_path, hurt.key)
    third = site.back_up()
    assert damaged(site) == {first.id, second.id}
    assert (len(own(third)), len(third.warnings)) == (2, 2)
    assert catalog.find(site.store, "sample", "latest").id == third.id
    is_right(site, third)
    newest = state_log.latest(site.store, "sample", "verifications")[second.id]
    message = state_log.content(site.store, newest)["message"]
    assert f"objects of {third.id} were read" in message
    assert lost.key in message
    assert hurt.key in message


def test_damage_that_is_gone_brands_nobody(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a backup found damaged is looked at once more before others are called damaged."""
    first = site.back_up()
    hurt = parts(first)[1]
    checksum, asked = Store.checksum, list[str]()

    def twice_wrong(store: Store, key: str) -> tuple[int, str]:
        asked.append(key)
        size, sha256 = checksum(store, key)
        return (size + 1, sha256) if key == hurt.key and asked.count(key) < 3 else (size, sha256)

    monkeypatch.setattr(Store, "checksum", twice_wrong)
    second = site.back_up()
    assert (len(own(second)), len(second.warnings)) == (1, 1)
    assert damaged(site) == set()


def test_what_a_manifest_says_wrongly_damages_no_other(site: Site) -> None:
    """The object is as the other backups say, so that only the one that lies is damaged."""
    first, second = site.back_up(), site.back_up()
    table = next(table for table in second.tables if table.name == "big")
    wrong = table.parts[0].model_copy(update={"rows": table.parts[0].rows + 1})
    forged = table.model_copy(update={"parts": (wrong, *table.parts[1:])})
    rest = tuple(one for one in second.tables if one is not table)
    with pytest.raises(Damaged, match="rows") as caught:
        check(site.store, second.model_copy(update={"tables": (forged, *rest)}), report=ignore)
    assert wrong.key in str(caught.value)
    assert damaged(site) == {second.id}
    assert check(site.store, first, report=ignore).objects > 0


def test_damage_is_told_though_the_other_backups_cannot_be_read(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that fails afterwards does not hide what was found."""
    first, second = site.back_up(), site.back_up()
    cut_short(tmp_path, parts(first)[0].key)

    def fails(*_: object) -> catalog.Listing:
        raise Failed("the store failed: timeout")

    with monkeypatch.context() as patched:
        patched.setattr(catalog, "listing", fails)
        with pytest.raises(Damaged, match=r"bytes instead of[^$]*not be found out: .* timeout"):
            check(site.store, second, report=ignore)
    assert damaged(site) == {second.id}


def test_what_a_drill_found_unequal_is_not_named_again(
    site: Site, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what it shares with others, however well that reads back, until a drill passes."""
    first, second = site.back_up(), site.back_up()
    real = load.set_sequences

    def tamper(connection: Any, entry: Manifest) -> None:
        real(connection, entry)
        connection.execute("UPDATE public.big SET name = 'wrong' WHERE id = 77")

    with monkeypatch.context() as patched:
        patched.setattr(load, "set_sequences", tamper)
        with pytest.raises(NotEqual, match="big"):
            run_drill(site.store, second, server.url(), report=ignore)
    assert drill_record.unequal(site.store, "sample") == {second.id}
    third = site.back_up()
    assert third.reuse is None
    is_right(site, third)
    # Of what was written since nobody has doubts.
    fourth = site.back_up()
    assert fourth.reuse is not None and fourth.reuse.backup == third.id
    assert not own(fourth)

    run_drill(site.store, second, server.url(), report=ignore)
    assert drill_record.unequal(site.store, "sample") == set()
    for entry in (third, fourth):
        site.store.delete([layout.manifest_key("sample", entry.id)])
    fifth = site.back_up()
    assert fifth.reuse is not None and fifth.reuse.backup == second.id
    assert parts(fifth) == parts(first)
