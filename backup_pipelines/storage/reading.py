"""Reading many small objects at once, and once more what looks damaged."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from backup_pipelines.errors import Damaged, NewerFormat
from backup_pipelines.progress import Report, silent
from backup_pipelines.storage.store import Store

# On S3 the latency of a small object, not its bytes, is what reading many waits for.
READS_AT_ONCE = 16

WHOLE_NOW = "but read once more it is as it was written: something changes bytes on their way"
"""The end of a sentence about what seemed to be damaged."""

Item = TypeVar("Item")
Found = TypeVar("Found")


def read_all(read: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """What `read` finds for each item, in their order; raises what it raises."""
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        return list(pool.map(read, items))


def read_again(read: Callable[[], Found], report: Report = silent) -> Found:
    """What `read` finds; when that is damage, what it finds the second time.

    Bytes can be hurt on their way from the store, where they are still whole: one such answer must
    not brand a backup nor end one of hours. Raises what the second reading raises.
    """
    try:
        return read()
    except (Damaged, NewerFormat) as error:
        found = read()
        report(f"{error}; {WHOLE_NOW}")
        return found


def read_back(store: Store, key: str, size_bytes: int, sha256: str) -> None:
    """Read an object that was just written; raises Damaged when it is not what was sent."""

    def look() -> None:
        if store.checksum(key) != (size_bytes, sha256):
            raise Damaged(f"{store.uri(key)} reads back different from what was written")

    read_again(look)
