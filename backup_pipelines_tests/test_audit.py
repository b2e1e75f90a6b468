"""The audit trail: what is written, by how many, and that no change of it goes unseen."""

import hashlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_pipelines import layout
from backup_pipelines.errors import Failed
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit, spool
from backup_pipelines.trail.audit import Happened, Head

AT = datetime(2026, 1, 1, tzinfo=UTC)
RECORDS = 6


def happened(operation: str = "backup", **more: object) -> Happened:
    """Something that somebody did."""
    return Happened.model_validate(
        {"operation": operation, "outcome": "done", "operator": "ada", "at": AT, **more}
    )


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, list[Head]]]:
    """A store with a trail of several records, and the head after each."""
    store = Store(tmp_path_factory.mktemp("trail").as_uri())
    heads = [audit.append(store, "crm", happened(message=str(n))) for n in range(RECORDS)]
    yield store, heads


def objects(store: Store) -> dict[str, bytes]:
    """Everything in the folder of the trail."""
    return {item.key: store.get(item.key) for item in store.objects(layout.audit_prefix("crm"))}


def fill(store: Store, found: dict[str, bytes]) -> None:
    """Make a store hold exactly these objects."""
    store.delete_folder(layout.audit_prefix("crm"))
    for key, data in found.items():
        store.put_new(key, data)


def test_records_come_back_newest_first_and_whole(store: Store) -> None:
    """What happened is read back as it was written, in the order of writing."""
    first = happened(rows=5, digests_after={"public.deals": "ab"}, details={"mode": "upsert"})
    audit.append(store, "crm", first)
    head = audit.append(store, "crm", happened("restore", outcome="refused", reason="why not"))
    audit.append(store, "dcim", happened())
    newest, oldest = audit.records(store, "crm")
    assert (newest.operation, newest.outcome, newest.reason) == ("restore", "refused", "why not")
    assert Happened.model_validate(oldest.model_dump(include=set(Happened.model_fields))) == first
    assert audit.newest(store, "crm") == head == audit.verify(store, "crm").head
    assert [r.sequence for r in audit.records(store, "crm", last=1)] == [2]
    assert audit.newest(store, "hr") == Head()


def test_any_text_can_be_written(store: Store) -> None:
    """Bytes of a terminal that are no UTF-8, and NUL, lose themselves but not the record."""
    audit.append(store, "crm", happened(reason="caf\udce9\0", details={"label": ["\ud800"]}))
    [record] = audit.records(store, "crm")
    assert (record.reason, record.details) == ("caf??", {"label": ["?"]})


def _removed(found: dict[str, bytes], keys: list[str], draw: st.DrawFn) -> dict[str, bytes]:
    gone = draw(st.sets(st.sampled_from(keys), min_size=1))
    return {key: data for key, data in found.items() if key not in gone}


def _truncated(found: dict[str, bytes], keys: list[str], draw: st.DrawFn) -> dict[str, bytes]:
    left = draw(st.integers(0, len(keys) - 1))
    return {key: found[key] for key in keys[:left]}


def _altered(found: dict[str, bytes], keys: list[str], draw: st.DrawFn) -> dict[str, bytes]:
    key = draw(st.sampled_from(keys))
    place = draw(st.integers(0, len(found[key]) - 1))
    byte = draw(st.integers(0, 255).filter(lambda b: b != found[key][place]))
    data = found[key][:place] + bytes([byte]) + found[key][place + 1 :]
    return found | {key: data}


def _cut(found: dict[str, bytes], keys: list[str], draw: st.DrawFn) -> dict[str, bytes]:
    key = draw(st.sampled_from(keys))
    return found | {key: found[key][: draw(st.integers(0, len(found[key]) - 1))]}


def _swapped(found: dict[str, bytes], keys: list[str], draw: st.DrawFn) -> dict[str, bytes]:
    one, other = draw(st.lists(st.sampled_from(keys), min_size=2, max_size=2, unique=True))
    return found | {one: found[other], other: found[one]}


def _inserted(found: dict[str, bytes], keys: list[str], draw: st.DrawFn) -> dict[str, bytes]:
    """A copy of a record, or one made up, where none is or in between, the later ones moved."""
    data = found[draw(st.sampled_from(keys))]
    next_one, nought = f"{RECORDS + 1:012d}.json", f"{0:012d}.json"
    others = ["999999999999.json", "1.json", "000000000001 copy.json", "x/000000000001.json"]
    name = draw(st.sampled_from([next_one, nought, *others]))
    if draw(st.booleans()):
        return found | {layout.audit_prefix("crm") + name: data}
    place = draw(st.integers(0, len(keys) - 1))
    moved = [*(found[key] for key in keys[:place]), data, *(found[key] for key in keys[place:])]
    return {layout.audit_key("crm", n): data for n, data in enumerate(moved, start=1)}


def _rewritten(found: dict[str, bytes], keys: list[str], draw: st.DrawFn) -> dict[str, bytes]:
    """A whole chain made anew from some record on, every hash right."""
    start = draw(st.integers(1, len(keys)))
    made, previous = dict(found), ""
    for number, key in enumerate(keys, start=1):
        record = audit.Record.model_validate_json(made[key])
        if number == start:
            record = record.model_copy(update={"operator": "nobody"})
        if number > start:
            record = record.model_copy(update={"previous": previous})
        made[key] = record.model_dump_json(indent=1).encode()
        previous = hashlib.sha256(made[key]).hexdigest()
    return made


CHANGES = [_removed, _truncated, _altered, _cut, _swapped, _inserted, _rewritten]


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_change_of_the_trail_is_found(
    trail: tuple[Store, list[Head]], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever is removed, altered, cut, swapped, inserted or made anew, verify says so."""
    original, heads = trail
    found = objects(original)
    keys = sorted(found)
    change = data.draw(st.sampled_from(CHANGES))
    changed = change(found, keys, data.draw)
    store = Store((tmp_path_factory.getbasetemp() / "changed").as_uri())
    fill(store, changed)
    assert audit.verify(store, "crm", [heads[-1]]).problems
    assert audit.verify(original, "crm", heads).problems == ()


def test_without_anchors_all_but_the_newest_is_watched(trail: tuple[Store, list[Head]]) -> None:
    """A trail that lost its end looks whole unless somebody has seen the end; gaps show anyway."""
    original, heads = trail
    found = objects(original)
    keys = sorted(found)
    store = Store(original.url.replace("trail", "shorter"))
    fill(store, {key: found[key] for key in keys[:-2]})
    assert audit.verify(store, "crm").problems == ()
    seen = audit.verify(store, "crm", heads).problems
    assert seen == tuple(f"record {n} is missing: a run has written it" for n in (5, 6))
    fill(store, {key: found[key] for key in keys if key not in keys[1:4]})
    assert "records 2 to 4 are missing" in audit.verify(store, "crm").problems


def _append_some(url: str, writer: str, count: int) -> None:
    store = Store(url)
    for number in range(count):
        audit.append(store, "crm", happened(message=f"{writer} {number}"))


def test_writers_at_once_make_one_chain(store: Store) -> None:
    """Threads and processes that write at the same time lose no record and leave no gap."""
    fork = multiprocessing.get_context("spawn")
    processes = [
        fork.Process(target=_append_some, args=(store.url, f"process {n}", 8)) for n in range(2)
    ]
    for process in processes:
        process.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: _append_some(store.url, f"thread {n}", 8), range(3)))
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    written = audit.records(store, "crm")
    assert len(written) == len({record.message for record in written}) == 5 * 8
    assert audit.verify(store, "crm").problems == ()


class LosesAnswers(Store):
    """A store whose answers to writes get lost, as on a bad network; what it holds is real."""

    def put_new(self, key: str, data: bytes) -> None:
        """Write, and say that it failed."""
        super().put_new(key, data)
        raise Failed("no answer")


def test_a_lost_answer_makes_no_second_record(store: Store) -> None:
    """A record that was written though its writer was told otherwise is recognised as its own."""
    head = audit.append(LosesAnswers(store.url), "crm", happened())
    assert head == audit.newest(store, "crm")
    assert len(audit.records(store, "crm")) == 1


class Unreachable(Store):
    """A store that refuses every write."""

    def put_new(self, key: str, data: bytes) -> None:
        """Refuse."""
        raise Failed("the store is gone")


def test_what_the_store_refused_is_written_later_in_order(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records wait in the spool, survive another refusal, and go to their own store, each once."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    late = [happened(message=str(n), at=AT + timedelta(seconds=n)) for n in range(3)]
    for one in reversed(late):
        spool.add(store.url, "crm", one)
    other = happened(message="of another store", at=AT + timedelta(milliseconds=1))
    spool.add("file:///elsewhere", "crm", other)
    with pytest.raises(Failed):
        spool.flush(Unreachable(store.url), "crm")
    assert [one.message for one in spool.waiting("crm")] == ["0", "of another store", "1", "2"]
    # The store had written this one, and its answer was lost.
    audit.append(store, "crm", late[0])
    assert [one.message for one, _ in spool.flush(store, "crm")] == ["0", "1", "2"]
    assert [record.message for record in audit.records(store, "crm")] == ["2", "1", "0"]
    assert [one.message for one in spool.waiting("crm")] == ["of another store"]
    assert spool.flush(store, "crm") == []


def test_a_bad_file_in_the_spool_holds_nothing_back(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read stays where it is; the records beside it are written."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    path = spool.add(store.url, "crm", happened(message="good"))
    path.with_name("00000000.json").write_text("{")
    assert [one.message for one, _ in spool.flush(store, "crm")] == ["good"]
    assert audit.newest(store, "crm").sequence == 1
