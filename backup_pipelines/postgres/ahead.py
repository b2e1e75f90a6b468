"""Work that is done in a thread while what it makes is used: the next thing is ready by then."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

# What the server is sent at once, and of how many rows it is.
Sent = tuple[bytes | memoryview, int]


def ahead(made: Generator[Sent]) -> Generator[Sent]:
    """What `made` yields, of which the next is made by a thread meanwhile, and never more.

    What goes wrong in the thread is raised here. Whoever stops early waits for the one in making.
    """
    with closing(made), ThreadPoolExecutor(1, "ahead") as pool:
        coming = pool.submit(next, made, None)
        while (one := coming.result()) is not None:
            coming = pool.submit(next, made, None)
            yield one
