"""Every type behind a mask, and beside one: PostgreSQL takes what is sent, and gives it back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backup_pipelines.csv.export import Asked, export_backup, export_live
from backup_pipelines.masking.column_masks import mask_of
from backup_pipelines.masking.masked_copy import copy_masked
from backup_pipelines.masking.values import ColumnMask
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.settings_masking import MaskingSpec
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.exactness import connect
from backup_pipelines_tests.fix_backup import back_up, ignore, whole_system
from backup_pipelines_tests.fix_masking import KEY
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.test_types import fill, table_of

STAYING = [("NaN",), ("Infinity",), ("-Infinity",)]

Make = Callable[[Server], Database]


@pytest.mark.parametrize("rule", ["keep", "null", "hash", "fake", "fake empty"])
def test_every_type(
    any_server: Server,
    make_database: Make,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rule: str,
) -> None:
    """Beside a masked column all values arrive as they were; behind a mask that the rules accept,
    none does, and files of the live database are those of the backup."""
    monkeypatch.setenv("BACKUP_MASKING_KEY", KEY)
    source, target = make_database(any_server), make_database(any_server)
    names = {table_of(variant) for variant in fill(source)}
    entry = back_up(source.admin_url, store)
    masked = {
        table.name
        for table in entry.tables
        for column in table.columns
        if column.name == "v"
        # How long its values may be is not known of a domain.
        and (column.type != "public.d_varchar" or rule in ("null", "fake empty"))
        and isinstance(mask_of(rule, column, marked=False), ColumnMask)
    }
    assert len(masked) == {"keep": 0, "null": len(names)}.get(rule, len(masked))
    assert rule == "keep" or len(masked) > 10
    value: Any = {"fake": "empty"} if rule == "fake empty" else rule
    rules = {n: {"id": "hash"} | ({"v": value} if n in masked else {}) for n in names}
    system = whole_system().model_copy(update={"masking": MaskingSpec(tables=rules)})
    done = copy_masked(system, store, entry, target.admin_url, report=ignore)
    assert not {f"public.{name}" for name in names} & set(done.by_digest)
    with connect(source.admin_url) as before, connect(target.admin_url) as after:
        for name in sorted(names):
            query = f"SELECT format('%s', v) FROM public.{name} WHERE num_nulls(v) = 0".encode()
            was, now = (c.execute(query).fetchall() for c in (before, after))
            if name not in masked:
                assert now == was, name
            elif rule == "null":
                assert was and not now, name
            elif rule != "fake empty":
                pairs = [pair for pair in zip(was, now, strict=True) if pair[0] not in STAYING]
                assert was and all(a != b for a, b in pairs), name
    files: list[dict[str, bytes]] = []
    for source_of in ("live", "backup"):
        asked = Asked(Selection(modules=("all",)), tmp_path / source_of, masking=system.masking)
        if source_of == "live":
            export_live(system, source.admin_url, asked, report=ignore)
        else:
            export_backup(store, entry, asked, report=ignore)
        files.append({path.name: path.read_bytes() for path in asked.to.glob("*.csv")})
    assert files[0] == files[1] and len(files[0]) == len(names)
