"""What every label of our metadata means, and the unit of each number: the one place for both.

A test collects all metadata that our jobs and assets write, and fails on a label that is not here.
docs/operations.md has the numbers of this as a table.
"""

from collections.abc import Mapping
from dataclasses import dataclass

SUMMARY = "summary"
"""The first line of what a run or an asset shows: the whole of it in words."""

BYTES, SECONDS, PERCENT = "bytes", "seconds", "percent"


@dataclass(frozen=True)
class Label:
    """What a label means; a number's `unit` is a word of the label itself."""

    meaning: str
    unit: str = ""


def _number(unit: str, meaning: str) -> Label:
    return Label(meaning, unit)


# People see these under Plots; what is counted is the unit.
_BACKUP_NUMBERS = {
    "size_bytes": _number(BYTES, "What the objects take in the store."),
    "added_bytes": _number(BYTES, "What was written for it; the rest lies in earlier backups."),
    "dagster/size_bytes": _number(BYTES, "The same; Dagster shows it in the head of the page."),
    "dagster/row_count": _number("row", "Rows; Dagster shows it in the head of the page."),
    "tables_count": _number("tables", "Tables; a partitioned one counts once."),
    "records_count": _number("records", "Rows of all tables."),
    "parts": _number("parts", "Files that the rows lie in."),
    "objects": _number("objects", "Objects in the store, or objects of the DDL."),
    "seconds": _number(SECONDS, "How long it took."),
    "rows_per_second": _number("rows", "How many rows were read in a second."),
    "restore_seconds_measured": _number(SECONDS, "What the last drill of this backup took."),
    "restore_seconds_estimated": _number(
        SECONDS, "What a restore may take, by the last drill of another backup and the sizes."
    ),
}
_RESTORE_NUMBERS = {
    "rows_inserted": _number("rows", "Rows inserted; of a plan: that would be."),
    "rows_updated": _number("rows", "Rows updated; of a plan: that would be."),
    "rows_deleted": _number("rows", "Rows deleted; of a plan: that would be."),
    "rows_unchanged": _number("rows", "Rows that are as they should be."),
    "rows_rejected": _number("rows", "Rows of the files that cannot be imported."),
    "problems": _number("problems", "What is wrong with the files, each thing once."),
    "tables_verified": _number("tables", "Tables whose content was compared with the backup."),
    "estimated_seconds": _number(SECONDS, "How long the restore may take."),
}
_LOOK_NUMBERS = {
    "rows": _number("rows", "Rows written, compared or answered."),
    "tables": _number("tables", "Tables restored, or found."),
    "backups": _number("backups", "Backups in the store, or looked into."),
    "rows_not_shown": _number("rows", "Rows that differ and are not in the table below."),
    "rows_in_file": _number("rows", "Rows written into the file."),
    "tables_unchanged": _number("tables", "Tables without a difference."),
    "live_records": _number("records", "Rows of the module's tables now."),
    "last_backup_records": _number("records", "Rows of the module in its last backup."),
    "last_backup_bytes": _number(BYTES, "What the module takes in its last backup."),
}
_UPKEEP_NUMBERS = {
    "backups_to_remove": _number("backups", "Backups that retention does not keep."),
    "backups_removed": _number("backups", "Backups removed by this run."),
    "backups_kept": _number("backups", "Backups that stay."),
    "removed_bytes": _number(BYTES, "What the removed backups took, or what would be removed."),
    "orphan_objects": _number("objects", "Objects in the store that belong to no backup."),
    "orphan_bytes": _number(BYTES, "What those objects take."),
    "backups_with_lost_objects": _number("backups", "Backups of which objects are gone."),
    "backups_unknown_to_catalog": _number("backups", "Backups that the catalog lacked."),
    "backups_missing_from_store": _number("backups", "Backups of the catalog that are gone."),
    "manifests_unreadable": _number("manifests", "Manifests that cannot be read."),
    "objects_repaired": _number("objects", "Objects removed by the repair."),
    "backups_added": _number("backups", "Backups that the catalog lacked and has now."),
    "backups_updated": _number("backups", "Backups whose status, pin or proof was put right."),
    "backups_offered": _number("backups", "Backups that can be chosen for a restore again."),
    "backups_dropped": _number("backups", "Backups that can no longer be chosen: they are gone."),
    "backups_unsealed": _number("backups", "Backups that were begun and never finished."),
    "backups_damaged": _number("backups", "Damaged backups."),
    "backups_pinned": _number("backups", "Pinned backups."),
    "backups_verified": _number("backups", "Backups read back and found whole by this run."),
    "backups_encrypted_anew": _number("backups", "Backups encrypted for today's recipients."),
    "backups_copied": _number("backups", "Backups copied to the second store by this run."),
    "copied_bytes": _number(BYTES, "What those copies take."),
    "objects_kept": _number("objects", "Objects that were there already."),
}
_HEALTH_NUMBERS = {
    "guards_red": _number("guards", "Guards that are errors: something must be done."),
    "guards_warning": _number("guards", "Guards that warn."),
    "recovery_point_hours": _number("hours", "Age of the newest good full backup."),
    "largest_gap_hours": _number("hours", "Longest time between two of the last 30 backups."),
    "recovery_time_seconds": _number(SECONDS, "What the last drill took to restore a backup."),
    "success_percent": _number(PERCENT, "Of the last 30 attempts to back up, those that worked."),
    "storage_bytes": _number(BYTES, "All objects of the system in the store."),
    "storage_percent": _number(PERCENT, "The same, of the storage limit."),
    "storage_bytes_per_day": _number(BYTES, "How fast that grows."),
}
_GUARD_NUMBERS = {
    "target_seconds": _number(SECONDS, "The target that the YAML sets."),
    "limit_seconds": _number(SECONDS, "The longest time that the YAML allows."),
    "age_seconds": _number(SECONDS, "How long ago it was."),
    "failures_in_a_row": _number("failures", "Attempts that failed since the last that worked."),
    "tables_in_no_module": _number("tables", "Tables that no module names."),
    "tables_excluded": _number("tables", "Tables left out on purpose, with a reason."),
    "tables_fallen": _number("tables", "Tables that lost more than the set share."),
    "tables_grown": _number("tables", "Tables that grew by more than the set share."),
    "worst_percent": _number(PERCENT, "How much the table did that changed most."),
    "columns_changed": _number("columns", "Columns of a new type."),
    "limit_bytes": _number(BYTES, "The storage limit that the YAML sets."),
    "bytes_per_day": _number(BYTES, "How fast the store grows."),
    "removals_unfinished": _number("removals", "Removals that were begun and are not finished."),
    "freezes": _number("freezes", "Guards that keep pruning from going on."),
    "backups_unlocked": _number("backups", "Backups that are not locked as the YAML promises."),
    "audit_records_waiting": _number("records", "Audit records that the store has not taken."),
    "backups_encrypted": _number("backups", "Encrypted backups."),
    "backups_closed": _number("backups", "Encrypted backups that the identity here cannot open."),
    "backups_lacking": _number("backups", "Backups that the second store should have and lacks."),
}

NUMBERS: Mapping[str, Label] = {
    **_BACKUP_NUMBERS,
    **_RESTORE_NUMBERS,
    **_LOOK_NUMBERS,
    **_UPKEEP_NUMBERS,
    **_HEALTH_NUMBERS,
    **_GUARD_NUMBERS,
    "exit_code": _number("exit code", "1 failed, 2 refused: nothing was touched."),
}
"""Labels of numbers."""

_OF_BACKUPS = {
    "at_a_glance": "All backups of the system as of the time that it names.",
    "good": "Whether the backup can be trusted: sealed, verified when, restored by a drill when.",
    "restore_time": "How long a restore of all of it takes, and whether that was measured.",
    "to_restore": "Launchpads filled in with the backup: plan, restore.",
    "to_prove": "Launchpads filled in with the backup: verify, drill.",
    "to_look_into": "Launchpads filled in with the backup: SQL, differences to now.",
    "to_take_away": "Launchpads filled in with the backup: links to download it, CSV files.",
    "to_keep_or_not": "Launchpads filled in with the backup: pin, unpin, delete.",
    "id": "The backup's id: UTC time, type, and six digits by chance.",
    "backup": "Id of the backup that it is about.",
    "backup_is": "What that backup is, in words.",
    "backups": "The backups that it is about.",
    "system": "The system, as in its YAML.",
    "backup_type": "manual, scheduled, module (a part), or safety (before a restore).",
    "scope": "full, modules or tables: how much of the system it holds.",
    "module": "The module, of a backup of one alone.",
    "status": "completed or damaged; of a backup that is gone: removed, missing.",
    "error": "What is wrong with a damaged backup.",
    "label": "The name that somebody gave it.",
    "created_at": "When the backup was sealed.",
    "created_by": "Who started it.",
    "snapshot_at": "The moment that the rows are of.",
    "verified_at": "When every object was last read back and found whole.",
    "drilled_at": "When a drill last restored it, and compared every row.",
    "pinned": "Whether it is kept whatever retention says.",
    "encrypted": "Whether its objects are encrypted.",
    "opened": "Whether an identity was there that opens its encrypted objects.",
    "copy_of": "Of a backup encrypted anew: the id that it had before.",
    "file_name": "Its manifest, the file that makes it a backup.",
    "path": "Where its objects are in the store.",
    "dagster/uri": "Where the objects are in the store.",
    "manifest": "What is in it, table by table.",
    "digest": "Content hash of the rows, whatever their order.",
    "digests": "The digest of each table, as JSON.",
    "excluded": "Tables left out on purpose, and why.",
    "sections": "The files of SQL: pre-data before the rows, post-data after them.",
    "dagster/column_schema": "The columns; Dagster shows them as Columns.",
}
_OF_RESTORES = {
    "mode": "replace or upsert, of an import insert or upsert.",
    "selection": "Which tables or record it is about.",
    "into": "Which database is written: live, or the variable that names it.",
    "plan": "What would be done, line by line.",
    "plan_hash": "Hash of the plan: give it to the restore, and it does that or refuses.",
    "warnings": "What to know before going on.",
    "refused": "What stands against it.",
    "closure": "Tables whose rows are needed too.",
    "undo": "How to take it back.",
    "take_back": "The launchpad that takes it back.",
    "do_it": "The launchpad of the import that does what was planned, or refuses.",
    "safety_backup": "Id of the backup taken just before of what was about to change.",
    "safety_backup_is": "What that backup is, in words.",
    "source": "Where the rows came from: files, a backup, or the live database.",
    "problems_by_kind": "What is wrong, and how often.",
    "problems_file": "The file with everything that is wrong.",
    "first_problems": "The first things that are wrong.",
    "skipped": "What was left out, and why.",
    "seconds_by_module": "Seconds for each module, as JSON.",
    "record": "Where the record of the drill is in the store.",
}
_OF_LOOKS = {
    "tables": "Its tables, or their names.",
    "files": "Files read or written.",
    "file": "The file with every row that differs.",
    "to": "The folder that was written to.",
    "answer": "The rows that the statement gave.",
    "more_rows": "Whether there are more rows than are shown.",
    "links": "The links themselves: whoever has one can fetch the object.",
    "expires_at": "Until when the links work.",
    "table": "The table of the record.",
    "key": "The primary key of the record.",
    "versions": "What became of the record, backup by backup.",
    "first": "What is compared.",
    "second": "What it is compared with.",
    "first_is": "What that backup is, in words.",
    "second_is": "What that backup is, in words.",
    "not_compared": "Tables that could not be compared.",
    "changed_rows": "Some of the rows that differ.",
    "live_records_are": "How the number of live records is known: counted, estimated, unknown.",
    "last_backup": "The newest good backup that holds the whole module.",
    "last_backup_at": "When the newest good backup was taken.",
    "last_backup_type": "The type of that backup.",
    "last_backup_holds": "What that backup has of the module, in words.",
    "restore_last_backup": "Launchpads of a plan and a restore of it.",
    "last_restore": "When rows of the module were last restored.",
    "restored_from": "The backup that they were restored from.",
}
_OF_UPKEEP = {
    "dry_run": "Whether it only shows what would be done.",
    "frozen": "Guards that keep pruning from removing anything, and since when.",
    "unfinished": "Removals that were begun and not finished.",
    "verdicts": "Every backup: kept or removed, and why.",
    "agrees": "Whether store, manifests and catalog agree.",
    "marked_damaged": "Backups marked as damaged by this run.",
    "found": "What does not agree.",
    "disagreements": "The same as a table.",
    "newest_backup": "The newest backup of the store.",
    "newest_backup_is": "What that backup is, in words.",
    "catalog": "All backups, and what was done about each.",
    "copied": "Backups copied to the second store.",
    "damaged": "Backups found damaged.",
    "removed": "Backups removed.",
    "not_verified": "Backups that could not be read now.",
    "why": "Why the backup was removed.",
    "operator": "Who did it.",
    "reason": "Why, in the words of whoever did it.",
    "problem": "What the store said.",
    "run": "The run that did it.",
    "guards": "The guards, what each found, and what to do.",
    "refused_or_failed": "The newest operations that were refused or have failed, and why.",
    "who_did_what": "The newest operations: when, what, how it ended, who.",
    "next_scheduled": "When the next backup is due; in the past if it is overdue.",
    "last_drill": "When a drill last passed.",
    "next_drill": "When the next drill is due.",
    "last_prune": "When backups were last pruned.",
    "storage_full_at": "When the storage limit is reached, at this pace.",
}

TEXTS: Mapping[str, str] = {
    SUMMARY: "The whole of it in words.",
    "result": "The JSON document that the command line prints.",
    **_OF_BACKUPS,
    **_OF_RESTORES,
    **_OF_LOOKS,
    **_OF_UPKEEP,
}
"""Labels of everything that is no number: texts, times, tables, documents."""

COLUMNS: Mapping[str, str] = {
    "rows": "Rows of the table.",
    "bytes": "What the table takes in the store, exactly; size says it in words.",
    "parts": "Files that its rows lie in.",
    "columns": "Columns of the table.",
    "line": "The line in the file.",
    "insert": "Rows inserted; of a plan: that would be.",
    "update": "Rows updated; of a plan: that would be.",
    "delete": "Rows deleted; of a plan: that would be.",
    "unchanged": "Rows that are as they should be.",
    "rejected": "Rows that cannot be imported.",
}
"""Columns of numbers in tables; each table says what its lines are."""
