"""A look at a system's second store, taken once: a dead one costs its timeouts once."""

from collections.abc import Callable
from dataclasses import dataclass, field

from backup_pipelines import catalog, layout
from backup_pipelines.catalog import Listing
from backup_pipelines.errors import BackupError, NoStore
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System


def _nothing() -> Listing:
    return Listing([], catalog.NOTHING_KNOWN, {})


@dataclass(frozen=True)
class SecondLook:
    """What the second store holds, or why nobody can tell."""

    url: str = ""
    """Empty where not even that is known."""
    problem: str = ""
    listing: Listing = field(default_factory=_nothing)
    bytes: int = 0


def look(system: System, opened: Callable[[], Store]) -> SecondLook | None:
    """Look at the second store that `opened` gives; None for a system without one.

    A store that cannot be reached is in the result, not raised.
    """
    if system.second_store is None:
        return None
    url = ""
    try:
        store = opened()
        url = store.url
        listing = catalog.listing(store, system.system)
        prefix = layout.system_prefix(system.system)
        return SecondLook(
            url, listing=listing, bytes=sum(item.size_bytes for item in store.objects(prefix))
        )
    except NoStore:
        # The first copy makes the bucket.
        return SecondLook(url)
    except BackupError as error:
        return SecondLook(url, problem=str(error))
