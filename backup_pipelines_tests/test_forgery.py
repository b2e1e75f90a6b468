"""Manifests and objects changed on purpose: what is found, and what nobody could find."""

import hashlib
import random
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
import pytest

from backup_pipelines import manifest
from backup_pipelines.errors import Damaged, NewerFormat
from backup_pipelines.exporting.ddl_backup import objects_of
from backup_pipelines.restore import restore_into_empty
from backup_pipelines_tests.fix_backup import ignore
from backup_pipelines_tests.fix_damage import Victim
from backup_pipelines_tests.fix_restore import SOAK_SEED
from backup_pipelines_tests.forging import forgeries, resealed, unsealed

# What a manifest alone says, so that one with another value and a seal of its own is as good a
# manifest. The seal finds damage; against people who may write to the store there are rights to
# it, and Object Lock.
UNTOLD = {
    "who took the backup, of what, when and why; it decides about no object": (
        "tool_version type scope modules modules[] label reason created_by run_id started_at"
        " snapshot_at created_at server_version database roles roles[]"
        " tables[].module tables[partitioned].module tables[].seconds tables[partitioned].seconds"
        " tables[].source_bytes tables[partitioned].source_bytes"
        " tables[].parts[].first_page tables[].parts[].end_page"
    ),
    "fewer tables, positions or views than the DDL creates are a backup of fewer": (
        "tables sequences materialized_views"
    ),
    "without its documents, which no program reads, a backup is as whole": "documents",
    "positions are stored nowhere else": (
        "sequences[].last_value sequences[].is_called sequences[].owned_by"
    ),
    "descriptions of what the DDL creates, to compare with a live table; the DDL is what is run": (
        "tables[].partition_of tables[partitioned].partition_of tables[].primary_key"
        " tables[].primary_key[] tables[].row_security tables[partitioned].row_security"
        " tables[].force_row_security tables[partitioned].force_row_security"
        " tables[].columns[].base_type tables[].columns[].arrow_type tables[].columns[].not_null"
        " tables[].columns[].default tables[].columns[].identity tables[].columns[].generated"
        " foreign_keys foreign_keys[].name foreign_keys[].table foreign_keys[].columns"
        " foreign_keys[].columns[] foreign_keys[].references foreign_keys[].referenced_columns"
        " foreign_keys[].referenced_columns[] foreign_keys[].definition"
        " foreign_keys[].deferrable foreign_keys[].validated foreign_keys[].on_delete"
    ),
    "a partitioned table has no rows of its own, so no part tells its columns": (
        "tables[partitioned].columns tables[partitioned].columns[].name"
        " tables[partitioned].columns[].type tables[partitioned].columns[].base_type"
        " tables[partitioned].columns[].encoding tables[partitioned].columns[].arrow_type"
        " tables[partitioned].columns[].not_null tables[partitioned].columns[].default"
        " tables[partitioned].columns[].identity tables[partitioned].columns[].generated"
    ),
}

# Of forged manifests so many are given to all verbs; the others, to what these call first.
_THROUGH_ALL_VERBS = 60


def test_every_field_of_the_manifest(victim: Victim) -> None:
    """A manifest that says anything else than what was sealed is no manifest."""
    # Writing it anew changes nothing by itself.
    assert unsealed(victim.document()) == victim.read(victim.manifest)
    made = list(forgeries(victim.document()))
    assert len(made) > 500
    for forgery in made:
        with pytest.raises((Damaged, NewerFormat), match=victim.manifest):
            manifest.parse(unsealed(forgery.document), victim.manifest)
    for forgery in random.Random(SOAK_SEED).sample(made, _THROUGH_ALL_VERBS):
        with victim.changed({victim.manifest: unsealed(forgery.document)}):
            victim.assert_found(victim.manifest)


def test_forged_and_sealed_again(victim: Victim) -> None:
    """Whoever can also make a seal is found, but for what is listed as known from nowhere else."""
    untold: set[str] = set()
    told: list[bytes] = []
    for forgery in forgeries(victim.document()):
        data = resealed(forgery.document)
        if _is_same(data, victim):
            continue
        with victim.changed({victim.manifest: data}):
            if victim.is_found():
                told.append(data)
            else:
                untold.add(forgery.field)
    for data in random.Random(SOAK_SEED).sample(told, _THROUGH_ALL_VERBS):
        with victim.changed({victim.manifest: data}):
            victim.assert_found(victim.entry.id)
    assert untold == {field for fields in UNTOLD.values() for field in fields.split()}


def _is_same(data: bytes, victim: Victim) -> bool:
    """Whether nothing is changed but the seal, or a field left out that says nothing."""
    try:
        return manifest.parse(data, victim.manifest) == victim.entry
    except (Damaged, NewerFormat):
        return False


@pytest.mark.parametrize(
    "folder", ["other/backups/x/", "../", "sample/backups/../../", "sample/backups//", "/etc/"]
)
def test_keys_that_lead_elsewhere(victim: Victim, folder: str) -> None:
    """An object outside of the system's backups is never read, not even the very same bytes."""
    elsewhere = victim.folder / "other/backups/x"
    elsewhere.mkdir(parents=True, exist_ok=True)
    for path in (("tables", 2, "parts", 0), ("ddl", 0), ("ddl", 1)):
        document = victim.document()
        place: Any = document
        for step in path:
            place = place[step]
        shutil.copy(victim.folder / place["key"], elsewhere / "object")
        place["key"] = f"{folder}object"
        with victim.changed({victim.manifest: resealed(document)}):
            victim.assert_found(f"{folder}object, a ", "is no object of sample's backups")
            victim.assert_not_restored(f"{folder}object, a ")


def _sections_renamed(document: Any, victim: Victim) -> Mapping[str, bytes]:
    first, second = document["ddl"]
    first["section"], second["section"] = second["section"], first["section"]
    first["key"], second["key"] = second["key"], first["key"]
    return {}


def _sections_swapped(document: Any, victim: Victim) -> Mapping[str, bytes]:
    first, second = document["ddl"]
    for field in ("key", "sha256", "size_bytes"):
        first[field], second[field] = second[field], first[field]
    return {}


def _sql_appended(document: Any, victim: Victim) -> Mapping[str, bytes]:
    return _with_sql(document, victim, lambda sql: sql + b"DROP SCHEMA public CASCADE;\n")


def _sql_with_section_hash_of_objects(document: Any, victim: Victim) -> Mapping[str, bytes]:
    """The object's hash is right, the file's is not."""
    section = document["ddl"][0]
    sql = victim.read(section["key"]) + b"DROP SCHEMA public CASCADE;\n"
    section["objects"] = _described(sql)
    return {section["key"]: sql}


def _object_without_a_name(document: Any, victim: Victim) -> Mapping[str, bytes]:
    return _with_sql(
        document, victim, lambda sql: sql.replace(b"Type: FUNCTION", b"Type: PROCEDURE")
    )


def _part_of_the_other_backup(document: Any, victim: Victim) -> Mapping[str, bytes]:
    """Its bytes, size and hash; the rows are others."""
    table = next(t for t in document["tables"] if t["name"] == "places")
    other = next(t for t in victim.other.tables if t.name == "places").parts[0]
    table["parts"][0] |= {"sha256": other.sha256, "size_bytes": other.size_bytes}
    table["size_bytes"] = other.size_bytes
    return {table["parts"][0]["key"]: victim.read(other.key)}


def _no_parquet(document: Any, victim: Victim) -> Mapping[str, bytes]:
    table = next(t for t in document["tables"] if t["name"] == "places")
    data = b"PAR1 and no more"
    table["parts"][0] |= {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    table["size_bytes"] = len(data)
    return {table["parts"][0]["key"]: data}


def _no_utf_8(document: Any, victim: Victim) -> Mapping[str, bytes]:
    return _with_sql(document, victim, lambda sql: sql + b"-- \xff\n")


def _no_sql(document: Any, victim: Victim) -> Mapping[str, bytes]:
    return _with_sql(document, victim, lambda sql: sql + b"SELECT 'without an end")


def _with_sql(
    document: Any, victim: Victim, change: Callable[[bytes], bytes]
) -> Mapping[str, bytes]:
    """DDL that is another, with the hash of its file."""
    section = document["ddl"][0]
    sql = change(victim.read(section["key"]))
    section["sha256"], section["size_bytes"] = hashlib.sha256(sql).hexdigest(), len(sql)
    return {section["key"]: sql}


def _described(sql: bytes) -> list[Any]:
    return [one.model_dump(by_alias=True) for one in objects_of(sql.decode())]


@pytest.mark.parametrize(
    ("forge", "named"),
    [
        (_sections_renamed, "schema/pre-data.sql"),
        (_sections_swapped, "schema/pre-data.sql"),
        (_sql_appended, "schema/pre-data.sql"),
        (_sql_with_section_hash_of_objects, "schema/pre-data.sql"),
        (_object_without_a_name, "schema/pre-data.sql"),
        (_no_utf_8, "schema/pre-data.sql"),
        (_no_sql, "schema/pre-data.sql"),
        (_part_of_the_other_backup, "public.places"),
        (_no_parquet, "public.places"),
    ],
)
def test_objects_forged_with_their_hashes(
    victim: Victim, forge: Callable[[Any, Victim], Mapping[str, bytes]], named: str
) -> None:
    """An object changed together with some of what the manifest says of it is found."""
    document = victim.document()
    objects = forge(document, victim)
    with victim.changed({**objects, victim.manifest: resealed(document)}):
        victim.assert_found(named)
        victim.assert_not_restored(named)


def test_what_nobody_can_tell(victim: Victim) -> None:
    """SQL with all hashes and a new seal is a backup: only who may write to the store decides."""
    document = victim.document()
    objects = _sql_appended(document, victim)
    section = document["ddl"][0]
    section["objects"] = _described(objects[section["key"]])
    with victim.changed({**objects, victim.manifest: resealed(document)}):
        assert not victim.is_found()


def test_what_stands_before_the_first_object_is_not_run(victim: Victim) -> None:
    """SQL that belongs to no object passes by the file's hash, and no restore runs it."""
    document = victim.document()
    intruder = b"CREATE TABLE intruder ();\n"
    objects = _with_sql(document, victim, lambda sql: intruder + sql)
    with victim.changed({**objects, victim.manifest: resealed(document)}):
        assert not victim.is_found()
        restore_into_empty(victim.store, victim.load(), victim.target, report=ignore)
        with psycopg.connect(victim.target, autocommit=True) as connection:
            found = connection.execute(
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')"
                " AND relnamespace = 'public'::regnamespace"
            ).fetchall()
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert sorted(name for (name,) in found) == ["events", "events_new", "events_old", "places"]
