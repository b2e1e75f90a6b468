"""Reading many small objects at once."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

# On S3 the latency of a small object, not its bytes, is what reading many waits for.
READS_AT_ONCE = 16

Item = TypeVar("Item")
Found = TypeVar("Found")


def read_all(read: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """What `read` finds for each item, in their order; raises what it raises."""
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        return list(pool.map(read, items))
