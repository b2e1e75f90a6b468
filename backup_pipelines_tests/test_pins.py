"""Pins and freezes: what people say to retention, kept in the store."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_pipelines import catalog, layout, state_log, verify
from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.retention import freezes, pins
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.tiny_backups import put_backup, tiny_id


def pin(store: Store, backup_id: str) -> None:
    """Pin as ann."""
    pins.pin(store, "crm", backup_id, operator="ann", reason="the audit of 2026")


def unpin(store: Store, backup_id: str) -> None:
    """Unpin as bob."""
    pins.unpin(store, "crm", backup_id, operator="bob", reason="it is over")


def test_pin_and_unpin(store: Store) -> None:
    """The newest word counts; each is an object that says who and why."""
    entry = put_backup(store, 0)
    assert pins.pinned(store, "crm") == set()
    for _ in range(2):
        pin(store, entry.id)
        assert pins.pinned(store, "crm") == {entry.id}
        unpin(store, entry.id)
        assert pins.pinned(store, "crm") == set()
    pin(store, entry.id)
    assert catalog.listing(store, "crm").entries[0].pinned
    written = list(store.objects(layout.states_prefix("crm", "pins")))
    assert len(written) == 5
    said = state_log.content(store, state_log.latest(store, "crm", "pins")[entry.id])
    assert (said["operator"], said["reason"]) == ("ann", "the audit of 2026")


def test_what_cannot_be_pinned(store: Store) -> None:
    """Twice, an unknown id, what is no id, and unpinning what is not pinned are refused."""
    entry = put_backup(store, 0)
    with pytest.raises(Refused, match=f"{entry.id} is not pinned"):
        unpin(store, entry.id)
    pin(store, entry.id)
    with pytest.raises(Refused, match=f"{entry.id} is pinned already"):
        pin(store, entry.id)
    for change in (pin, unpin):
        with pytest.raises(NotFound, match="crm has no backup"):
            change(store, tiny_id(1))
        with pytest.raises(Refused, match="is not a backup id"):
            change(store, "../other")
    assert pins.pinned(store, "crm") == {entry.id}
    assert pins.pinned(store, "dcim") == set()


def test_damaged_backups_can_be_pinned_and_unpinned(store: Store, tmp_path: Path) -> None:
    """A damaged backup can be kept for a look at it, and let go when its manifest is unreadable."""
    entry = put_backup(store, 0)
    verify.remember(store, entry, "a part is missing")
    pin(store, entry.id)
    [listed] = catalog.listing(store, "crm").entries
    assert (listed.pinned, listed.status) == (True, "damaged")
    (tmp_path / "store" / layout.manifest_key("crm", entry.id)).write_text("{")
    unpin(store, entry.id)
    assert pins.pinned(store, "crm") == set()


def test_a_clock_that_was_put_back(store: Store) -> None:
    """A change that is dated before the last one still counts as the newest."""
    entry = put_backup(store, 0)
    ahead = datetime.now(UTC) + timedelta(days=400)
    state_log.append(store, "crm", "pins", entry.id, catalog.PINNED, {}, now=ahead)
    unpin(store, entry.id)
    assert pins.pinned(store, "crm") == set()


def test_freezes(store: Store) -> None:
    """A guard freezes once, until a newer backup gives it something new to say."""
    assert freezes.active(store, "crm") == []
    freezes.freeze(store, "crm", "shrink", "first", subject=tiny_id(1))
    freezes.freeze(store, "crm", "shrink", "again", subject=tiny_id(1))
    freezes.freeze(store, "crm", "shrink", "of an older one", subject=tiny_id(0))
    freezes.freeze(store, "crm", "freshness", "nothing for 3 days")
    freezes.freeze(store, "crm", "freshness", "nothing for 4 days")
    found = freezes.active(store, "crm")
    assert [(one.guard, one.message) for one in found] == [
        ("freshness", "nothing for 3 days"),
        ("shrink", "first"),
    ]
    freezes.freeze(store, "crm", "shrink", "second", subject=tiny_id(2))
    assert freezes.active(store, "crm")[1].message == "second"
    assert freezes.active(store, "dcim") == []


def test_acknowledging(store: Store) -> None:
    """An acknowledgement ends a freeze for good: the same finding does not freeze again."""
    for guard in ("shrink", "growth"):
        freezes.freeze(store, "crm", guard, f"{guard} is red", subject=tiny_id(1))
    ended = freezes.acknowledge(
        store, "crm", operator="ann", reason="was an import", guards=["shrink"]
    )
    assert [(one.guard, one.message) for one in ended] == [("shrink", "shrink is red")]
    assert [one.guard for one in freezes.active(store, "crm")] == ["growth"]
    freezes.freeze(store, "crm", "shrink", "still red", subject=tiny_id(1))
    assert [one.guard for one in freezes.active(store, "crm")] == ["growth"]
    freezes.freeze(store, "crm", "shrink", "red anew", subject=tiny_id(2))
    ended = freezes.acknowledge(store, "crm", operator="ann", reason="imports again")
    assert [one.guard for one in ended] == ["growth", "shrink"]
    assert freezes.active(store, "crm") == []
    said = state_log.content(store, state_log.latest(store, "crm", "freezes")["growth"])
    assert (said["operator"], said["reason"]) == ("ann", "imports again")


def test_what_cannot_be_acknowledged(store: Store) -> None:
    """Nothing in force, no reason, and a guard that is not red are refused with what helps."""
    with pytest.raises(Refused, match="nothing is frozen in crm"):
        freezes.acknowledge(store, "crm", operator="ann", reason="why not")
    freezes.freeze(store, "crm", "shrink", "red")
    with pytest.raises(Refused, match="needs a reason"):
        freezes.acknowledge(store, "crm", operator="ann", reason=" ")
    with pytest.raises(Refused, match="growth has frozen nothing in crm; in force: shrink"):
        freezes.acknowledge(store, "crm", operator="ann", reason="ok", guards=["growth", "shrink"])
    assert len(freezes.active(store, "crm")) == 1
