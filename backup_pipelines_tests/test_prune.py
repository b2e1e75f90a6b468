"""Pruning and deleting: what goes, what stays, and what a kill or a refusing store leaves."""

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_pipelines import catalog, layout, state_log, verify
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Failed, NotFound, Refused
from backup_pipelines.exporting import leftovers
from backup_pipelines.manifest import Manifest
from backup_pipelines.retention import freezes, pins, removal
from backup_pipelines.retention.prune import BY_HAND, Pruned, delete_backup, plan_prune, prune
from backup_pipelines.settings import RetentionSpec
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines_tests.fix_backup import back_up, ignore, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.tiny_backups import (
    START,
    Keeping,
    Killed,
    KilledAt,
    keys,
    put_backup,
    system,
    tiny_id,
)

NOW = START + timedelta(days=100)


def run(store: Store, chosen: System) -> Pruned:
    """A prune of crm at a fixed time."""
    return prune(store, chosen, operator="ann", reason="tidy", now=NOW)


def listed(store: Store) -> list[str]:
    """Ids of the backups, newest first."""
    return [entry.id for entry in catalog.backups(store, "crm")]


def outcome(store: Store) -> tuple[set[str], list[str], dict[str, int]]:
    """What a prune has come to: objects, catalog, and what each removal says it removed."""
    found = state_log.latest(store, "crm", "removals")
    done = {
        name: int(state_log.content(store, state)["removed"])
        for name, state in found.items()
        if state.state == catalog.DONE
    }
    assert removal.unfinished(store, "crm") == {}
    return keys(store), listed(store), done


def test_a_prune_removes_what_is_not_kept(store: Store) -> None:
    """The oldest go with all their objects, and the note says who, why, and which rule."""
    for number in range(5):
        put_backup(store, number)
    before = listed(store)
    plan = plan_prune(store, system(keep_last=3), NOW)
    assert listed(store) == before
    assert plan.remove == (tiny_id(0), tiny_id(1))
    assert plan.bytes == 46
    done = run(store, system(keep_last=3))
    assert [(one.id, one.objects, one.problem) for one in done.removed] == [
        (tiny_id(0), 5, ""),
        (tiny_id(1), 5, ""),
    ]
    assert (done.kept, done.refused, done.frozen) == (3, (), ())
    assert listed(store) == catalog.ids(store, "crm")[::-1] == before[:3]
    note = state_log.content(store, state_log.latest(store, "crm", "removals")[tiny_id(0)])
    assert (note["operator"], note["reason"]) == ("ann", "tidy")
    assert note["why"] == "older than the newest 3 and no other rule keeps it"
    assert note["state"] == catalog.DONE
    assert run(store, system(keep_last=3)).removed == ()


def test_other_systems_are_left_alone(store: Store) -> None:
    """Backups, pins and freezes of another system are its own, whatever their ids."""
    for number, of in itertools.product(range(3), ("crm", "dcim")):
        put_backup(store, number, of=of)
    pins.pin(store, "dcim", tiny_id(0), operator="ann", reason="")
    freezes.freeze(store, "dcim", "shrink", "red")
    before = keys(store, "dcim")
    assert len(run(store, system(keep_last=1)).removed) == 2
    assert keys(store, "dcim") == before


def test_parts_that_others_name_stay(store: Store) -> None:
    """A part that a later backup points at outlives its own, and goes with the last that does."""
    first = put_backup(store, 0)
    part = first.tables[0].parts[0]
    put_backup(store, 1, shares=[part])
    put_backup(store, 2, shares=[part])
    put_backup(store, 3)
    run(store, system(keep_last=3))
    assert {key for key in keys(store) if first.id in key} == {part.key}
    assert leftovers.remove(store, "crm", ignore) == []
    run(store, system(keep_last=2))
    assert store.exists(part.key)
    [done] = run(store, system(keep_last=1)).removed
    assert done.objects == 6
    assert not any(first.id in key for key in keys(store))
    assert catalog.ids(store, "crm") == [tiny_id(3)]


def test_what_an_unreadable_manifest_names_stays(store: Store, tmp_path: Path) -> None:
    """A damaged manifest, or a newer one, still protects the parts of others that it names."""
    first = put_backup(store, 0)
    for number in (1, 2):
        put_backup(store, number, shares=[first.tables[0].parts[number - 1]])
    put_backup(store, 3)
    damaged = tmp_path / "store" / layout.manifest_key("crm", tiny_id(1))
    damaged.write_text(damaged.read_text().replace('"rows"', '"lines"'))
    newer = tmp_path / "store" / layout.manifest_key("crm", tiny_id(2))
    newer.write_text(newer.read_text().replace('"format_version": 1', '"format_version": 9'))
    plan = plan_prune(store, system(keep_last=1), NOW)
    assert plan.remove == (first.id,)
    assert [v.reasons[0].startswith("damaged or not verified") for v in plan.verdicts] == [
        False,
        True,
        True,
        False,
    ]
    run(store, system(keep_last=1))
    assert all(store.exists(part.key) for part in first.tables[0].parts)
    assert not store.exists(layout.manifest_key("crm", first.id))


def test_only_good_ones_count(store: Store) -> None:
    """Damaged and future ones neither go nor take the place of a good one."""
    made = [put_backup(store, number) for number in range(4)]
    for entry in made[2:]:
        verify.remember(store, entry, "a part is missing")
    future = put_backup(store, 4, at=NOW + timedelta(days=1))
    run(store, system(keep_last=1))
    assert listed(store) == [future.id, made[3].id, made[2].id, made[1].id]


def test_a_module_keeps_its_newest_data(store: Store) -> None:
    """Single tables are not a module's data, a module's own backup is."""
    whole = put_backup(store, 0, modules=["sales", "tasks"])
    deals = put_backup(store, 1, kind="module", scope="modules")
    put_backup(store, 2, kind="module", scope="tables", modules=["tasks"])
    last = put_backup(store, 3, kind="module", scope="modules", modules=["dcim"])
    run(store, system(keep_last=1))
    assert listed(store) == [last.id, deals.id, whole.id]


def test_pins(store: Store) -> None:
    """What is pinned stays until it is unpinned."""
    for number in range(3):
        put_backup(store, number)
    pins.pin(store, "crm", tiny_id(0), operator="ann", reason="audit")
    run(store, system(keep_last=1))
    assert listed(store) == [tiny_id(2), tiny_id(0)]
    pins.unpin(store, "crm", tiny_id(0), operator="ann", reason="over")
    run(store, system(keep_last=1))
    assert listed(store) == [tiny_id(2)]


def test_a_freeze_stops_it(store: Store) -> None:
    """While a guard's alarm is not acknowledged nothing goes, but what was begun is finished."""
    for number in range(4):
        put_backup(store, number)
    part = layout.part_key("crm", tiny_id(0), "public", "deals", 1)
    keeping = Keeping(store.url, [part])
    assert run(keeping, system(keep_last=3)).refused[0].id == tiny_id(0)
    freezes.freeze(store, "crm", "shrink", "deals lost 90 % of its rows")
    assert plan_prune(store, system(keep_last=1), NOW).frozen[0].guard == "shrink"
    said: list[str] = []
    done = prune(store, system(keep_last=1), operator="ann", reason="", now=NOW, report=said.append)
    assert [one.id for one in done.removed] == [tiny_id(0)]
    assert [frozen.guard for frozen in done.frozen] == ["shrink"]
    assert "deals lost 90 % of its rows" in said[-1]
    assert listed(store) == [tiny_id(3), tiny_id(2), tiny_id(1)]
    freezes.acknowledge(store, "crm", operator="ann", reason="was an import")
    assert run(store, system(keep_last=1)).kept == 1


def build(store: Store) -> None:
    """Four backups of which two stay; of the first, one part is a part of each full one too."""
    first = put_backup(store, 0)
    put_backup(store, 1, parts=1, shares=first.tables[0].parts[:1])
    put_backup(store, 2, kind="safety", scope="tables", modules=[], parts=1)
    put_backup(store, 3, parts=1, shares=first.tables[0].parts[1:])


def interrupted(
    make: Callable[[Store], None], work: Callable[[Store], object], folder: Path
) -> None:
    """Kill the work before each change to the store; done again, all is as if never killed."""
    made = folder / "made"
    make(Store(made.as_uri()))
    shutil.copytree(made, folder / "whole")
    whole = Store((folder / "whole").as_uri())
    work(whole)
    wanted = outcome(whole)
    work(whole)
    assert outcome(whole) == wanted
    number = 0
    while killed_at(made, folder / "cut", work, wanted, number):
        number += 1
    assert number > 4


def killed_at(
    made: Path,
    copy: Path,
    work: Callable[[Store], object],
    wanted: object,
    number: int,
) -> bool:
    """Whether there was a change of that number to be killed at."""
    shutil.copytree(made, copy)
    store = Store(copy.as_uri())
    try:
        work(KilledAt(copy.as_uri(), number))
        killed = False
    except Killed:
        killed = True
        # What the next backup does, before anybody prunes again.
        leftovers.remove(store, "crm", ignore)
        work(store)
    assert outcome(store) == wanted
    shutil.rmtree(copy)
    return killed


def test_a_prune_that_is_killed_anywhere(tmp_path: Path) -> None:
    """Killed before any change and run again, a prune comes to the same."""
    interrupted(build, lambda store: run(store, system(keep_last=1)), tmp_path)


def test_a_deletion_that_is_killed_anywhere(tmp_path: Path) -> None:
    """Killed before any change and tried again, a deletion comes to the same."""

    def work(store: Store) -> None:
        # The second time it is not there any more.
        with contextlib.suppress(NotFound):
            delete_backup(store, system(), tiny_id(0), operator="ann", reason="wrong data")

    interrupted(build, work, tmp_path)


def test_resume_finishes_what_was_begun(store: Store) -> None:
    """A removal that was killed anywhere after its note is finished by resuming alone."""
    put_backup(store, 0)
    for number in range(1, 7):
        entry = put_backup(store, number)
        killing = KilledAt(store.url, number)
        with pytest.raises(Killed):
            removal.remove(
                killing, "crm", entry.id, operator="ann", reason="", why=BY_HAND, report=ignore
            )
        assert list(removal.unfinished(store, "crm")) == [entry.id]
        [done] = removal.resume(store, "crm", operator="bob", report=ignore)
        assert (done.id, done.objects, done.problem) == (entry.id, 5, "")
        assert catalog.ids(store, "crm") == [tiny_id(0)]
        assert removal.unfinished(store, "crm") == {}


class History:
    """What a random history is made of."""

    def __init__(self, seeds: list[tuple[str, bool, bool, int]]) -> None:
        self.seeds = seeds

    def __call__(self, store: Store) -> None:
        made: list[Manifest] = []
        for number, (kind, pinned, good, shift) in enumerate(self.seeds):
            # Of several at one moment, and of the future.
            at = START + timedelta(days=1000 if shift == 3 else number // 2)
            scope = "full" if kind == "manual" else "modules"
            shares = [made[-shift].tables[0].parts[-1]] if 0 < shift <= len(made) else []
            entry = put_backup(store, number, kind=kind, scope=scope, at=at, shares=shares, parts=1)
            made.append(entry)
            if not number:
                put_backup(store, number, of="dcim")
            if pinned:
                pins.pin(store, "crm", entry.id, operator="ann", reason="")
            if not good:
                verify.remember(store, entry, "damaged")


histories = st.lists(
    st.tuples(
        st.sampled_from(["manual", "module", "safety"]),
        st.sampled_from([False, False, False, True]),
        st.sampled_from([True, True, True, False]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=8,
).map(History)

policies = st.builds(
    lambda last, floor, size: system(last, floor, max_size=size),
    st.integers(1, 3),
    st.integers(1, 2),
    st.sampled_from([None, "60 B"]),
)


@settings(max_examples=12, deadline=None)
@given(histories, policies, st.integers(0, 20))
def test_random_histories(history: History, chosen: System, cut: int) -> None:
    """Over any history a prune does what its plan says, keeps the floor, and survives a kill."""
    with tempfile.TemporaryDirectory() as name:
        made, whole = Path(name, "made"), Path(name, "whole")
        store = Store(made.as_uri())
        history(store)
        plan = plan_prune(store, chosen, NOW)
        good = catalog.listing(store, "crm").entries
        full = [e.manifest.id for e in good if _counts(e) and e.manifest.scope == "full"]
        shutil.copytree(made, whole)
        pruned = Store(whole.as_uri())
        run(pruned, chosen)
        assert set(listed(pruned)) == set(listed(store)) - set(plan.remove)
        assert set(full[: chosen.retention.floor]) <= set(listed(pruned))
        assert keys(pruned, "dcim") == keys(store, "dcim")
        for entry in catalog.backups(pruned, "crm"):
            assert all(pruned.exists(part.key) for part in entry.tables[0].parts)
        named = removal.in_use(pruned, "crm", "crm/backups/")
        parts = {key for key in keys(pruned) if key.endswith(".parquet")}
        assert parts <= named
        killed_at(
            made,
            Path(name, "cut"),
            lambda store: run(store, chosen),
            outcome(pruned),
            cut,
        )


def _counts(entry: catalog.CatalogEntry) -> bool:
    return entry.status == "completed" and entry.manifest.snapshot_at <= NOW


def test_a_store_that_keeps_the_manifest(store: Store) -> None:
    """A backup whose manifest cannot be removed stays whole, counts as before, and says so."""
    for number in range(3):
        put_backup(store, number)
    before = keys(store)
    keeping = Keeping(store.url, [layout.manifest_key("crm", tiny_id(0))])
    done = run(keeping, system(keep_last=2))
    assert (done.removed, done.kept) == ((), 3)
    [refused] = done.refused
    assert (refused.id, refused.objects) == (tiny_id(0), 0)
    assert refused.problem.endswith("AccessDenied; the backup stays whole and counts as before")
    assert keys(store) == before
    assert len(listed(store)) == 3
    assert removal.unfinished(store, "crm") == {}
    assert removal.resume(store, "crm", operator="ann", report=ignore) == []
    assert run(store, system(keep_last=2)).kept == 2
    assert len(listed(store)) == 2


def test_a_store_that_keeps_a_part(store: Store) -> None:
    """What cannot be removed of a backup is said, left alone by others, and tried again."""
    for number in range(3):
        put_backup(store, number)
    part = layout.part_key("crm", tiny_id(0), "public", "deals", 1)
    keeping = Keeping(store.url, [part])
    done = run(keeping, system(keep_last=2))
    assert (done.removed, done.kept) == ((), 2)
    assert "AccessDenied" in done.refused[0].problem
    assert {key for key in keys(store) if tiny_id(0) in key} == {part}
    assert "no backup any more" in removal.unfinished(store, "crm")[tiny_id(0)]
    assert leftovers.remove(keeping, "crm", ignore) == []
    assert run(keeping, system(keep_last=2)).refused == done.refused
    assert run(store, system(keep_last=2)).removed[0].objects == 5
    assert not store.exists(part)
    assert removal.unfinished(store, "crm") == {}


def test_other_backups_go_although_one_cannot(store: Store) -> None:
    """One refusal does not stop the rest."""
    for number in range(4):
        put_backup(store, number)
    keeping = Keeping(store.url, [layout.manifest_key("crm", tiny_id(0))])
    done = run(keeping, system(keep_last=1))
    assert [one.id for one in done.removed] == [tiny_id(1), tiny_id(2)]
    assert listed(store) == [tiny_id(3), tiny_id(0)]


def test_a_store_that_cannot_be_read(store: Store, tmp_path: Path) -> None:
    """With the store gone nothing is removed, and the error says so."""

    class Unreadable(Store):
        def get(self, key: str) -> bytes:
            if key.endswith("manifest.json"):
                raise Failed(f"the store failed at {self.uri(key)}: timeout")
            return super().get(key)

    for number in range(3):
        put_backup(store, number)
    before = keys(store)
    with pytest.raises(Failed, match="timeout"):
        run(Unreadable(store.url), system(keep_last=1))
    assert keys(store) == before
    assert not (tmp_path / "store/crm/removals").exists()


def test_what_was_begun_is_judged_anew(store: Store) -> None:
    """A removal that was killed before its backup had gone is given up when retention now keeps."""
    made = [put_backup(store, number) for number in range(2)]
    with pytest.raises(Killed):
        run(KilledAt(store.url, 1), system(keep_last=1))
    assert list(removal.unfinished(store, "crm")) == [made[0].id]
    with pytest.raises(Refused, match="is being removed"):
        pins.pin(store, "crm", made[0].id, operator="ann", reason="")
    verify.remember(store, made[1], "damaged")
    assert run(store, system(keep_last=1)).removed == ()
    assert len(listed(store)) == 2
    assert removal.unfinished(store, "crm") == {}
    assert catalog.find(store, "crm", "latest").id == made[0].id


def test_deleting_by_hand(store: Store) -> None:
    """A deletion goes below the floor, but takes neither a pinned backup nor the last good one."""
    for number in range(3):
        put_backup(store, number)
    chosen = system(floor=3)
    done = delete_backup(store, chosen, tiny_id(2), operator="ann", reason="wrong data")
    assert (done.id, done.objects, done.problem) == (tiny_id(2), 5, "")
    note = state_log.content(store, state_log.latest(store, "crm", "removals")[tiny_id(2)])
    assert (note["why"], note["reason"]) == (BY_HAND, "wrong data")
    pins.pin(store, "crm", tiny_id(1), operator="ann", reason="")
    with pytest.raises(Refused, match=f"unpin crm {tiny_id(1)}"):
        delete_backup(store, chosen, tiny_id(1), operator="ann", reason="")
    verify.remember(store, catalog.load(store, "crm", tiny_id(1)), "damaged")
    with pytest.raises(Refused, match="the last good full backup"):
        delete_backup(store, chosen, tiny_id(0), operator="ann", reason="")
    with pytest.raises(NotFound, match="list crm"):
        delete_backup(store, chosen, tiny_id(9), operator="ann", reason="")
    with pytest.raises(NotFound):
        delete_backup(store, chosen, tiny_id(2), operator="ann", reason="")
    with pytest.raises(Refused, match="is not a backup id"):
        delete_backup(store, chosen, "../other", operator="ann", reason="")
    assert listed(store) == [tiny_id(1), tiny_id(0)]


def test_deleting_what_cannot_be_read(store: Store, tmp_path: Path) -> None:
    """A backup with an unreadable manifest is never pruned, but can be deleted."""
    put_backup(store, 0)
    put_backup(store, 1)
    (tmp_path / "store" / layout.manifest_key("crm", tiny_id(0))).write_text("{")
    run(store, system(keep_last=1))
    assert len(catalog.ids(store, "crm")) == 2
    delete_backup(store, system(), tiny_id(0), operator="ann", reason="unreadable")
    assert catalog.ids(store, "crm") == [tiny_id(1)]


def test_real_backups(
    make_database: Callable[[Server], Database], server: EmbeddedServer, store: Store
) -> None:
    """Of real backups the newest stay, and are as whole as before."""
    database = make_database(server)
    database.run("CREATE TABLE a AS SELECT g AS id FROM generate_series(1, 50) g")
    made = [back_up(database.admin_url, store) for _ in range(3)]
    chosen = whole_system().model_copy(update={"retention": RetentionSpec(keep_last=2, floor=1)})
    done = prune(store, chosen, operator="ann", reason="")
    assert [one.id for one in done.removed] == [made[0].id]
    assert done.removed[0].bytes > made[0].size_bytes
    assert {e.id for e in catalog.backups(store, "sample")} == {e.id for e in made[1:]}
    assert catalog.ids(store, "sample") == sorted(entry.id for entry in made[1:])
    for entry in catalog.backups(store, "sample"):
        verify.verify(store, entry, report=ignore)
