"""Every byte and every object of a backup damaged in turn, and always found.

Verify, restore and plan are all asked; test_forgery.py has what is changed on purpose.
"""

import random
import re
from collections.abc import Iterator

import pytest

from backup_pipelines.errors import Damaged
from backup_pipelines.verify import verify
from backup_pipelines_tests.fix_backup import ignore
from backup_pipelines_tests.fix_damage import Victim
from backup_pipelines_tests.fix_restore import SOAK_SEED

# Connecting takes most of the time.
_CONNECT_EVERY = 10

_SOAK = (pytest.mark.soak, pytest.mark.timeout(14400))


def test_the_backup_is_whole(victim: Victim) -> None:
    """Undamaged it verifies, and it is the small but complete backup that is meant."""
    verify(victim.store, victim.entry, report=ignore)
    sizes = [len(victim.read(key)) for key in victim.keys if key not in victim.documents]
    assert (len(sizes), len(victim.documents)) == (6, 2)
    assert 10_000 < sum(sizes) < 40_000
    assert victim.entry.sequences and victim.entry.materialized_views and victim.entry.foreign_keys


@pytest.mark.parametrize("count", [300, pytest.param(None, marks=_SOAK)])
def test_every_byte(victim: Victim, count: int | None) -> None:
    """A byte that is another one, anywhere in the backup, is found, and said of which object."""
    draw = random.Random(SOAK_SEED)
    keys = [key for key in victim.keys if key not in victim.documents]
    places = [(key, place) for key in keys for place in range(len(victim.read(key)))]
    chosen = places if count is None else draw.sample(places, count)
    for number, (key, place) in enumerate(chosen):
        data = bytearray(victim.read(key))
        data[place] ^= draw.randrange(1, 256)
        with victim.changed({key: bytes(data)}):
            victim.assert_found(key)
            if number % _CONNECT_EVERY == 0:
                victim.assert_not_restored(key)
    print(f"{len(chosen)} of {len(places)} bytes of {len(keys)} objects")


@pytest.mark.parametrize("count", [100, pytest.param(None, marks=_SOAK)])
def test_every_byte_of_the_documents(victim: Victim, count: int | None) -> None:
    """What people would read and run in trouble is not another than was written, either."""
    draw = random.Random(SOAK_SEED)
    places = [(key, place) for key in victim.documents for place in range(len(victim.read(key)))]
    chosen = places if count is None else draw.sample(places, count)
    for key, place in chosen:
        data = bytearray(victim.read(key))
        data[place] ^= draw.randrange(1, 256)
        with victim.changed({key: bytes(data)}), pytest.raises(Damaged, match=re.escape(key)):
            verify(victim.store, victim.load(), report=ignore)
    print(f"{len(chosen)} of {len(places)} bytes of {len(victim.documents)} documents")


@pytest.mark.parametrize("count", [300, pytest.param(None, marks=_SOAK)])
def test_every_byte_of_an_encrypted_backup(encrypted_victim: Victim, count: int | None) -> None:
    """Another byte, or an object cut or gone, is found by name where nobody can open anything."""
    victim, draw = encrypted_victim, random.Random(SOAK_SEED)
    assert not verify(victim.store, victim.entry, report=ignore).opened
    changes: list[tuple[str, int | None]] = [(key, None) for key in victim.keys]
    places = [(key, place) for key in victim.keys for place in range(len(victim.read(key)))]
    changes += places if count is None else draw.sample(places, count)
    for key, place in changes:
        data = bytearray(victim.read(key))
        if place is None:
            del data[-1]
        else:
            data[place] ^= draw.randrange(1, 256)
        with victim.changed({key: bytes(data)}), pytest.raises(Damaged, match=re.escape(key)):
            verify(victim.store, victim.load(), report=ignore)
    print(f"{len(changes)} changes of {len(places)} bytes of {len(victim.keys)} objects")


def _lengths(data: bytes) -> Iterator[bytes]:
    yield from (data[:length] for length in (0, 1, len(data) // 2, len(data) - 1))
    yield from (data + b"\0", data + b"\n", data + data)


def test_every_object_cut_extended_and_removed(victim: Victim) -> None:
    """An object of another length, an empty one and a missing one are found by name."""
    for key in victim.keys:
        for data in (*_lengths(victim.read(key)), None):
            with victim.changed({key: data}):
                missing = key == victim.manifest and data is None
                name = f"has no backup {victim.entry.id}" if missing else key
                victim.assert_found(name)
                victim.assert_not_restored(name)


def test_every_object_swapped_with_every_other(victim: Victim) -> None:
    """An object in place of another of the same backup is found, and both are named."""
    for key in victim.keys:
        for other in victim.keys:
            if key < other:
                with victim.changed({key: victim.read(other), other: victim.read(key)}):
                    # Without its manifest nothing else of a backup is known.
                    named = [name for name in (key, other) if name == victim.manifest]
                    victim.assert_found(*(named or (key, other)))


def test_every_object_swapped_with_the_same_of_another_backup(victim: Victim) -> None:
    """An object of another backup of the same system, whole in itself, is found."""
    for key in victim.keys:
        same = key.replace(victim.entry.id, victim.other.id)
        if key.endswith("/restore.py"):
            # The same for every backup.
            assert victim.read(same) == victim.read(key)
            continue
        with victim.changed({key: victim.read(same)}):
            victim.assert_found(key)
            victim.assert_not_restored(key)
