"""Copying to a second store: what is copied, what an interruption leaves, and what damage does."""

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_pipelines import catalog, layout, state_log, verify
from backup_pipelines.copies import copying
from backup_pipelines.copies.copying import Copied
from backup_pipelines.errors import Failed
from backup_pipelines.manifest import Manifest
from backup_pipelines.retention import freezes, pins, removal
from backup_pipelines.retention.prune import BY_HAND, Pruned
from backup_pipelines.settings import RetentionSpec
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.fix_backup import ignore
from backup_pipelines_tests.fix_s3 import Place
from backup_pipelines_tests.tiny_backups import START, Killed, keys, put_backup, system, tiny_id

SCHEMA = "CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) g"

NOW = START + timedelta(days=100)
KEEPS_ALL = RetentionSpec()


@pytest.fixture
def second(tmp_path: Path) -> Store:
    """An empty second store."""
    return Store((tmp_path / "second").as_uri())


def run(first: Store, second: Store, rule: RetentionSpec = KEEPS_ALL) -> list[Copied]:
    """A copy of crm at a fixed time, with what it does to pins."""
    found = copying.copy_missing(
        first, second, system(), rule, operator="ann", report=ignore, now=NOW
    )
    done = list(found)
    copying.mirror_pins(first, second, "crm", operator="ann")
    return done


def prune(first: Store, second: Store, rule: RetentionSpec = KEEPS_ALL) -> Pruned:
    """A prune of the second store at a fixed time."""
    return copying.prune_second(
        first, second, system(), rule, operator="ann", reason="", report=ignore, now=NOW
    )


def content(store: Store) -> dict[str, bytes]:
    """Every object in the folders of the backups."""
    return {key: store.get(key) for key in keys(store)}


def listed(store: Store) -> list[str]:
    """Ids of the backups, newest first."""
    return [entry.id for entry in catalog.backups(store, "crm")]


def test_a_copy_is_the_same(store: Store, second: Store) -> None:
    """Keys and bytes are those of the first, the manifest's too; it is verified, and done once."""
    entry = put_backup(store, 0)
    assert run(store, second) == [Copied(entry.id, objects=3, bytes=23, kept=0)]
    assert content(second) == content(store)
    [found] = catalog.listing(second, "crm").entries
    assert (found.manifest, found.status) == (entry, "completed")
    assert catalog.states(second, "crm").intact.keys() == {entry.id}
    assert catalog.states(store, "crm").intact == {}
    assert run(store, second) == []


def test_into_any_store(tmp_path: Path, place: Place) -> None:
    """A folder and S3 servers hold the same copy, and what was verified of it."""
    first = Store((tmp_path / "first").as_uri())
    put_backup(first, 0, part_bytes=100_000)
    run(first, place.store)
    assert content(place.again()) == content(first)
    assert len(place.stored()) == 6


def test_from_s3_to_a_folder(place: Place, second: Store) -> None:
    """A backup is copied from any kind of store."""
    put_backup(place.store, 0, part_bytes=100_000)
    run(place.again(), second)
    assert content(second) == content(place.again())


def test_a_real_backup(store: Store, second: Store, sealed: Manifest) -> None:
    """The copy of a real backup, its documents too, passes a verification of every byte."""
    copying.copy_backup(store, second, sealed, operator="ann", report=ignore)
    assert {key: second.get(key) for key in keys(second, "sample")} == {
        key: store.get(key) for key in keys(store, "sample")
    }
    assert verify.verify(second, sealed, report=ignore).objects > 0


def test_what_is_copied(store: Store, second: Store) -> None:
    """Good ones that the second's retention keeps or that are pinned, and the newest first."""
    made = [put_backup(store, number) for number in range(5)]
    pins.pin(store, "crm", made[0].id, operator="ann", reason="audit")
    verify.remember(store, made[3], "a part is missing")
    done = run(store, second, RetentionSpec(keep_last=2, floor=1))
    assert [one.id for one in done] == [made[4].id, made[2].id, made[0].id]
    assert catalog.states(second, "crm").pinned == {made[0].id}


def test_its_own_retention(store: Store, second: Store) -> None:
    """The second store keeps what its own rule says, however the first is pruned."""
    for number in range(6):
        put_backup(store, number)
    short, long = RetentionSpec(keep_last=2, floor=1), RetentionSpec(keep_last=5, floor=1)
    run(store, second, long)
    assert len(listed(second)) == 5
    assert [one.id for one in prune(store, second, short).removed] == [
        tiny_id(n) for n in (1, 2, 3)
    ]
    assert len(listed(store)) == 6
    assert run(store, second, short) == []
    removal_of(store, tiny_id(5))
    assert prune(store, second, short).removed == ()
    assert listed(second) == [tiny_id(5), tiny_id(4)]


def removal_of(store: Store, backup_id: str) -> None:
    """Remove a backup from a store."""
    done = removal.remove(
        store, "crm", backup_id, operator="ann", reason="", why=BY_HAND, report=ignore
    )
    assert not done.problem


def test_pins_and_freezes_of_both_stores(store: Store, second: Store) -> None:
    """What is pinned in either store stays in the second, and a freeze of the first stops it."""
    made = [put_backup(store, number) for number in range(5)]
    run(store, second)
    pins.pin(store, "crm", made[0].id, operator="ann", reason="")
    pins.pin(second, "crm", made[1].id, operator="ann", reason="")
    rule = RetentionSpec(keep_last=1, floor=1)
    freezes.freeze(store, "crm", "shrink", "red")
    assert [one.guard for one in prune(store, second, rule).frozen] == ["shrink"]
    assert len(listed(second)) == 5
    freezes.acknowledge(store, "crm", operator="ann", reason="seen")
    prune(store, second, rule)
    assert listed(second) == [made[4].id, made[1].id, made[0].id]


def test_pins_follow_the_first(store: Store, second: Store) -> None:
    """A copy is pinned and unpinned with its backup; what was said of the copy last, stays."""
    entry = put_backup(store, 0)
    pins.pin(store, "crm", entry.id, operator="ann", reason="")
    run(store, second)
    assert pins.pinned(second, "crm") == {entry.id}
    pins.unpin(store, "crm", entry.id, operator="ann", reason="")
    run(store, second)
    assert pins.pinned(second, "crm") == set()
    pins.pin(second, "crm", entry.id, operator="ann", reason="")
    run(store, second)
    assert pins.pinned(second, "crm") == {entry.id}


def test_parts_in_an_earlier_backup(store: Store, second: Store) -> None:
    """Shared parts are copied once, outlive their own backup's copy, and go with the last."""
    first = put_backup(store, 0)
    part = first.tables[0].parts[0]
    put_backup(store, 1, shares=[part])
    rule = RetentionSpec(keep_last=1, floor=1)
    run(store, second, rule)
    assert {key for key in keys(second) if first.id in key} == {part.key}
    done = run(store, second)
    assert [(one.id, one.kept) for one in done] == [(first.id, 1)]
    assert content(second) == content(store)
    prune(store, second, rule)
    assert {key for key in keys(second) if first.id in key} == {part.key}
    put_backup(store, 2)
    run(store, second, rule)
    prune(store, second, rule)
    assert not any(first.id in key for key in keys(second))


def test_a_damaged_copy_is_put_right(store: Store, second: Store) -> None:
    """What was found damaged there is replaced, be it an object or the manifest itself."""
    entry = put_backup(store, 0)
    run(store, second)
    whole, folder = content(second), Path(second.url.removeprefix("file://"))
    part = folder / entry.tables[0].parts[0].key
    part.write_bytes(b"0" * 10)
    verify.remember(second, entry, "other bytes")
    [done] = run(store, second)
    assert (done.objects, done.kept) == (3, 2)
    assert content(second) == whole
    assert catalog.states(second, "crm").damaged == {}
    sealed = folder / layout.manifest_key("crm", entry.id)
    sealed.write_bytes(sealed.read_bytes().replace(b'"rows"', b'"lines"'))
    assert [one.kept for one in run(store, second)] == [3]
    assert content(second) == whole


def test_copies_are_verified_in_rotation(store: Store, second: Store, sealed: Manifest) -> None:
    """A copy whose bytes rot is found when its turn comes, and the next copy puts it right."""
    rule, of = RetentionSpec(), system().model_copy(update={"system": "sample"})
    [_] = copying.copy_missing(store, second, of, rule, operator="ann", report=ignore)
    copied_at = catalog.states(second, "sample").intact[sealed.id]
    assert copying.verify_due(second, of, operator="ann", report=ignore) == {}
    assert catalog.states(second, "sample").intact[sealed.id] > copied_at
    part = Path(second.url.removeprefix("file://")) / sealed.tables[0].parts[0].key
    whole = part.read_bytes()
    part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    found = copying.verify_due(second, of, operator="ann", report=ignore)
    assert list(found) == [sealed.id]
    assert "other bytes than were written" in found[sealed.id]
    [done] = copying.copy_missing(store, second, of, rule, operator="ann", report=ignore)
    assert (done.id, part.read_bytes()) == (sealed.id, whole)
    assert catalog.states(second, "sample").damaged == {}


@pytest.mark.parametrize("harm", ["flipped", "missing"])
def test_a_damaged_source(store: Store, second: Store, harm: str) -> None:
    """A backup whose objects are damaged in the first is told of, and keeps no other back."""
    made = [put_backup(store, number) for number in range(3)]
    path = Path(store.url.removeprefix("file://")) / made[1].tables[0].parts[1].key
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(b"x" * 10)
    done = run(store, second)
    assert [one.id for one in done if one.problem] == [made[1].id]
    assert path.name in done[1].problem
    assert listed(second) == [made[2].id, made[0].id]
    assert catalog.states(store, "crm").damaged == {}


class Watched(Store):
    """A store that says of each of its operations that it begins."""

    def __init__(self, url: str, before: Callable[[str], None]) -> None:
        super().__init__(url)
        self.before = before

    def put_new(self, key: str, data: bytes, *more: Any, **named: Any) -> Any:
        self.before(key)
        return super().put_new(key, data, *more, **named)

    def get(self, key: str, *more: Any) -> bytes:
        self.before(key)
        return super().get(key, *more)

    def chunks(self, key: str) -> Iterator[bytes]:
        self.before(key)
        yield from super().chunks(key)

    def exists(self, key: str) -> bool:
        self.before(key)
        return super().exists(key)

    def writer(self, key: str, *more: Any, **named: Any) -> Any:
        self.before(key)
        return super().writer(key, *more, **named)

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.before(key)
            super().delete([key])


def test_a_prune_of_the_first_meanwhile(store: Store, second: Store) -> None:
    """Whenever the first is pruned, the copy is whole or given up, and then nothing is left."""
    outcomes: set[str] = set()
    for at in range(0, 40, 2):
        shared = put_backup(store, 0)
        entry = put_backup(store, 1, shares=shared.tables[0].parts)
        left = itertools.count(-at)

        def prune_at(key: str, left: Iterator[int] = left) -> None:
            if next(left) == 0:
                removal_of(store, tiny_id(1))
            del key

        done = run(Watched(store.url, prune_at), second)
        assert {one.problem for one in done} == {""}
        gone = entry.id in [one.id for one in done if one.gone]
        outcomes.add("given up" if gone else "copied" if entry.id in listed(second) else "neither")
        assert (entry.id in listed(second)) != gone or entry.id not in [one.id for one in done]
        copied = catalog.backups(second, "crm")
        named = {part.key for one in copied for part in one.tables[0].parts}
        assert {key for key in keys(second) if key.endswith(".parquet")} == named
        assert removal.unfinished(second, "crm") == {}
        assert catalog.ids(second, "crm") == [one.id for one in reversed(copied)]
        for of in (store, second):
            of.delete_folder("crm/")
    assert {"given up", "copied"} <= outcomes


def test_a_second_store_that_fails(store: Store, second: Store) -> None:
    """A store that takes nothing more ends the copy, and the first is as it was."""
    for number in range(3):
        put_backup(store, number)
    before = {item.key for item in store.objects("")}
    left = itertools.count(-12)

    def fail(key: str) -> None:
        if next(left) >= 0:
            raise Failed(f"the store failed at {key}: no room")

    with pytest.raises(Failed, match="no room"):
        run(store, Watched(second.url, fail))
    assert {item.key for item in store.objects("")} == before
    assert len(run(store, second)) >= 2
    assert content(second) == content(store)


def test_bytes_that_do_not_arrive(store: Store, second: Store, tmp_path: Path) -> None:
    """A copy that does not read back as it was written is none, and is replaced the next time."""
    entry = put_backup(store, 0)
    key = entry.tables[0].parts[0].key

    class Rotten(Store):
        def checksum(self, key_: str) -> tuple[int, str]:
            if key_ == key:
                (tmp_path / "second" / key).write_bytes(b"y" * 10)
            return super().checksum(key_)

    with pytest.raises(Failed, match=r"the copy failed: .* reads back different"):
        run(store, Rotten(second.url))
    assert listed(second) == []
    assert [one.kept for one in run(store, second)] == [1]
    assert content(second) == content(store)


def test_leftovers_there(store: Store, second: Store) -> None:
    """What a copy has left that is not wanted any more goes after a day, and not before."""
    put_backup(store, 0)
    run(store, second)
    unfinished = layout.started_key("crm", tiny_id(7))
    second.put_new(unfinished, b"{}")
    rule, name = KEEPS_ALL, system()
    arguments: dict[str, Any] = {"operator": "ann", "reason": "", "report": ignore}
    copying.prune_second(store, second, name, rule, **arguments, now=datetime.now(UTC))
    assert second.exists(unfinished)
    later = datetime.now(UTC) + timedelta(days=2)
    copying.prune_second(store, second, name, rule, **arguments, now=later)
    assert catalog.ids(second, "crm") == [tiny_id(0)]


@dataclass
class History:
    """What a random history of the first store is made of."""

    seeds: list[tuple[str, bool, bool, int]]
    made: list[Manifest] = field(default_factory=list[Manifest])

    def build(self, store: Store) -> None:
        """Put it into a store."""
        made: list[Manifest] = []
        for number, (kind, pinned, good, shift) in enumerate(self.seeds):
            scope: Any = "full" if kind == "manual" else "modules"
            shares = [made[-shift].tables[0].parts[-1]] if 0 < shift <= len(made) else []
            entry = put_backup(store, number, kind=kind, scope=scope, shares=shares, parts=1)  # type: ignore[arg-type]
            made.append(entry)
            if pinned:
                pins.pin(store, "crm", entry.id, operator="ann", reason="")
            if not good:
                verify.remember(store, entry, "damaged")


histories = st.lists(
    st.tuples(
        st.sampled_from(["manual", "module", "safety"]),
        st.sampled_from([False, False, True]),
        st.sampled_from([True, True, False]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=5,
).map(History)

rules = st.builds(
    lambda last, size: RetentionSpec(keep_last=last, floor=1, max_size=size),
    st.integers(1, 4),
    st.sampled_from([None, "60 B"]),
)


def outcome(store: Store) -> tuple[dict[str, bytes], dict[str, str], set[str]]:
    """What a copy has come to: objects, what was verified, what is pinned."""
    states = state_log.latest(store, "crm", "verifications")
    verified = {name: state.state for name, state in states.items()}
    return content(store), verified, pins.pinned(store, "crm")


@settings(max_examples=12, deadline=None)
@given(histories, rules, st.integers(0, 150))
def test_interrupted_anywhere(history: History, rule: RetentionSpec, cut: int) -> None:
    """Killed before any operation on either store and run again, a copy is as if never killed."""
    interrupt(history, rule, cut)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@settings(max_examples=400, deadline=None)
@given(histories, rules, st.integers(0, 150))
def test_interrupted_anywhere_at_length(history: History, rule: RetentionSpec, cut: int) -> None:
    """The same, four hundred times."""
    interrupt(history, rule, cut)


def interrupt(history: History, rule: RetentionSpec, cut: int) -> None:
    """Copy a history, once in one go and once killed and run again."""
    with tempfile.TemporaryDirectory() as name:
        first, whole = (Store(Path(name, one).as_uri()) for one in ("first", "whole"))
        history.build(first)
        before = {item.key for item in first.objects("")}
        run(first, whole, rule)
        assert run(first, whole, rule) == []
        left = itertools.count(-cut)

        def kill(key: str) -> None:
            if next(left) >= 0:
                raise Killed(key)

        folder = Path(name, "cut")
        with contextlib.suppress(Killed):
            run(Watched(first.url, kill), Watched(folder.as_uri(), kill), rule)
        again = Store(folder.as_uri())
        run(first, again, rule)
        assert outcome(again) == outcome(whole)
        assert {item.key for item in first.objects("")} == before
        # What it copies it keeps, and what it keeps it has copied.
        assert prune(first, again, rule).removed == ()


def test_other_systems_are_left_alone(store: Store, second: Store) -> None:
    """A copy is of one system only."""
    put_backup(store, 0)
    put_backup(store, 0, of="dcim")
    run(store, second)
    assert keys(second, "dcim") == set()
