"""One act of ours in a process of its own, as a benchmark measures it; says its seconds as JSON.

`python -m benchmarks.worker backup URL STORE [--readers N] [--without-digest] [--table T]`,
`restore STORE URL`, `plan STORE URL`, `undo-changes STORE URL`.
"""

import argparse
import json
import time
from datetime import UTC, datetime

from psycopg import sql

from backup_pipelines import catalog, modules
from backup_pipelines.backup import BackupRequest, take_backup
from backup_pipelines.backup_id import BackupId, BackupType
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres import projection
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ModuleSpec, System


def system_of(readers: int | None = None) -> System:
    """A system with all tables in one module."""
    made = System(
        system="bench",
        database_url_env="BENCH_DATABASE_URL",
        modules={"all": ModuleSpec(tables=["*.*"])},
    )
    return made if readers is None else made.model_copy(update={"readers": readers})


def take(
    url: str,
    store: Store,
    *,
    kind: BackupType = "manual",
    only: frozenset[str] = frozenset(),
    readers: int | None = None,
) -> Manifest:
    """A sealed backup of a database, or of some of its tables."""
    return sealed_by(request_for(system_of(readers), kind=kind, only=only), url, store)


def request_for(
    system: System,
    *,
    kind: BackupType = "manual",
    only: frozenset[str] = frozenset(),
    full_copy: bool = False,
) -> BackupRequest:
    """A request of a backup of everything, or of some tables."""
    return BackupRequest(
        system=system,
        id=BackupId.new(kind, datetime.now(UTC)),
        type=kind,
        created_by="benchmark",
        selection=frozenset(modules.entries(system)),
        only=only,
        full_copy=full_copy,
    )


def sealed_by(request: BackupRequest, url: str, store: Store) -> Manifest:
    """The backup that a request comes to."""
    *_, sealed = take_backup(request, url, store)
    assert isinstance(sealed, Manifest)
    return sealed


def without_digest() -> None:
    """Patch the query of this process: a constant instead of each row's hash.

    To measure what the digest costs; no backup for use is ever made this way.
    """
    if not hasattr(projection, "_row_hash"):
        raise RuntimeError("projection.py has no _row_hash any more: mend this benchmark")
    projection._row_hash = lambda *_: sql.SQL("0::pg_catalog.int8")  # pyright: ignore


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    acts = parser.add_subparsers(dest="act", required=True)
    backup = acts.add_parser("backup")
    backup.add_argument("url")
    backup.add_argument("store")
    backup.add_argument("--readers", type=int)
    backup.add_argument("--without-digest", action="store_true")
    backup.add_argument("--table", action="append", default=[])
    for name in ("restore", "plan", "undo-changes"):
        act = acts.add_parser(name)
        act.add_argument("store")
        act.add_argument("url")
        act.add_argument("--safety", action="store_true")
    found = parser.parse_args()
    started = time.monotonic()
    store = Store(found.store)
    if found.act == "backup":
        if found.without_digest:
            without_digest()
        take(found.url, store, only=frozenset(found.table), readers=found.readers)
    else:
        entry = catalog.find(store, "bench", catalog.LATEST)
        _restored(found.act, store, entry, found.url, with_safety=found.safety)
    print(json.dumps({"seconds": time.monotonic() - started}))


def _restored(act: str, store: Store, entry: Manifest, url: str, *, with_safety: bool) -> None:
    # A backup needs none of it, and would pay for importing it.
    from backup_pipelines.plan import plan_restore
    from backup_pipelines.restore import LiveRestore, restore, restore_into_empty
    from backup_pipelines.restoring.selection import Selection

    if act == "restore":
        restore_into_empty(store, entry, url, report=_ignore)
    elif act == "plan":
        plan_restore(store, entry, url, selection=Selection(), mode="replace", report=_ignore)
    else:
        restore(
            LiveRestore(entry),
            url,
            store,
            safety=(lambda only: take(url, store, kind="safety", only=only))
            if with_safety
            else None,
            report=_ignore,
        )


def _ignore(message: str) -> None:
    del message


if __name__ == "__main__":
    main()
