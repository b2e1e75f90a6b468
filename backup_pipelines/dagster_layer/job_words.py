"""What each job says of itself: what it does, changes and never changes, how to take it back.

The descriptions of jobs are made here, so that all say the same things in the same order.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from backup_pipelines.access import roles
from backup_pipelines.dagster_layer import job_names

_NOTHING = "nothing, neither in the database nor in the store"
_NO_NEED = "nothing to take back"
_LIVE_SAFETY = "`{system}_undo` restores the safety backup that is taken before the first row"
_READS_LIVE = "the live database: it is only read"


@dataclass(frozen=True)
class Words:
    """What one job says; `{system}` stands for the system's name."""

    does: str
    changes: str = _NOTHING
    never: str = "any backup, and the live database"
    back: str = _NO_NEED


_BACKUPS = {
    "backup": Words(
        "Backs up every table of {system} and its schema in one snapshot, reads every object "
        "back, and puts the backup into the catalog `{system}/backups`. To back up one module "
        "alone, materialize the assets of its group.",
        "the store: the objects of a new backup",
        _READS_LIVE + "; and no older backup",
        "`{system}_delete` removes the backup",
    ),
    "drill": Words(
        "Proves that a backup of {system} can be restored: restores it into a scratch database, "
        "compares every table by its digest, says how long that took, and drops the scratch "
        "database. Without config it takes the newest full backup.",
        "the store: a small record of the drill; the drill's server, for as long as it runs",
        _READS_LIVE.replace("it is only read", "it is not asked at all"),
    ),
    "verify": Words(
        "Reads every object of a backup of {system} back and compares size and checksum.",
        "the store: a note that the backup is whole, or damaged; a damaged one is not restored",
    ),
    "reconcile": Words(
        "Compares the store of {system} with its manifests and the catalog, in both directions.",
        "nothing but marks on backups that have lost objects; with `repair`, objects of no backup "
        "are removed and the catalog is put right",
        "a backup that is whole, and the live database",
        "objects that `repair` removed cannot be brought back",
    ),
    "catalog_rebuild": Words(
        "Brings the catalog of {system} back from the store alone: every backup with its status, "
        "pin and metadata. For a new Dagster instance, or a damaged one.",
        "what Dagster shows of the backups",
        "anything in the store, and the live database",
    ),
    "copy": Words(
        "Copies the backups of {system} that the second store lacks, reads each object back "
        "there, verifies older copies in turn, and removes what the second store's retention no "
        "longer keeps.",
        "the second store",
        "the first store's backups, and the live database",
        "a copy that retention removed is copied again while the first store has it",
    ),
    "upload": Words(
        "Puts the backup of an archive of {system}, as `download` made it, into the store and "
        "the catalog, after verifying it.",
        "the store: the objects of that backup",
        "a backup that is there already, and the live database",
        "`{system}_delete` removes the backup",
    ),
    "reencrypt": Words(
        "Encrypts a backup of {system}, or all, for the recipients that the YAML names by now: a "
        "copy under a new id, proved, and then the old one is removed.",
        "the store: each backup is replaced by its copy",
        "the rows in the backups, and the live database",
        "not possible: the old objects are gone; run it again with other recipients",
    ),
}
_RESTORES = {
    "plan": Words(
        "Shows what a restore of {system} would do, row by row, and what stands against it. "
        "The plan is in the run and on the backup's page."
    ),
    "restore": Words(
        "Restores a backup of {system}, or chosen modules, tables or one record, into the live "
        "database: only the rows that differ, all or nothing, compared before it commits. Look "
        "at `{system}_plan` first. You must type CONFIRM.",
        "rows of the selected tables in the live database, and their sequences",
        "tables that are not selected, and any older backup",
        _LIVE_SAFETY,
    ),
    "undo": Words(
        "Takes the last restore or import of {system} back, by its safety backup. You must type "
        "CONFIRM.",
        "the rows that the restore changed, in the live database",
        "other tables, and any older backup",
        "run it again: an undo takes a safety backup, too",
    ),
    "restore_into": Words(
        "Restores a whole backup of {system} into an empty database: tables, rows, functions, "
        "constraints and grants, every table compared. You must type CONFIRM.",
        "the database that `into_env` names, which must be empty",
        "the live database of {system}, and any backup",
        "drop that database",
    ),
    "request": Words(
        "Carries out a backup or a restore that the application of {system} asked for by a "
        "signed request; its sensor launches this.",
        "what the job `{system}_backup` or `{system}_restore` changes",
        "anything, where the signature is wrong, or the request is old or was carried out before",
        "a restore: " + _LIVE_SAFETY,
    ),
    "csv_plan": Words(
        "Checks CSV files for an import into {system}, row by row, by what PostgreSQL itself "
        "accepts, and shows what the import would write and everything that is wrong.",
        "nothing but the file of problems beside the source",
        "any row of the live database: what is staged for the check is rolled back",
    ),
    "csv_import": Words(
        "Writes the rows of CSV files into the live database of {system}: all or nothing, after "
        "the checks of `{system}_csv_plan`. You must type CONFIRM.",
        "rows of the tables that have a file: inserted or updated",
        "other tables, and it deletes no row",
        _LIVE_SAFETY,
    ),
}
_REMOVALS = {
    "prune": Words(
        "Removes the backups of {system} that retention no longer keeps, and finishes removals "
        "that were begun. With `dry_run` it only shows them, with the reasons.",
        "the store: backups that are too old or too many are removed for good",
        "pinned backups, the newest good ones, and the live database",
        "not possible, but from the second store; pin a backup to keep it",
    ),
    "delete": Words(
        "Removes one backup of {system} for good. You must type CONFIRM.",
        "the store: the objects of that backup",
        "other backups, pinned ones, and the live database",
        "not possible, but from the second store or an archive",
    ),
    "pin": Words(
        "Keeps a backup of {system} whatever retention says.",
        "the store: a note that it is pinned",
        back="`{system}_unpin`",
    ),
    "unpin": Words(
        "Lets retention decide about a pinned backup of {system} again.",
        "the store: a note that it is no longer pinned; the next prune may remove it",
        "any backup by itself, and the live database",
        "`{system}_pin`, before the next prune",
    ),
    "acknowledge": Words(
        "Lets pruning of {system} go on after a guard was red: somebody has looked, and says why.",
        "the store: a note that ends the freeze; the next prune may remove backups",
        "any backup by itself, and the live database",
        "not needed: another cause freezes pruning again",
    ),
}
_LOOKS = {
    "health": Words(
        "Looks at the backups of {system}: how old, whether good, how much room they take. "
        "Tells people what has changed, and freezes pruning where a guard is red. Its sensor "
        "launches it after each run and every hour.",
        "the store: a small record of what was found, and a freeze of pruning",
        _READS_LIVE + "; and any backup",
        "a freeze: `{system}_acknowledge`",
    ),
    "modules": Words(
        "Counts the live records of each module of {system}, and shows its last backup on its page."
    ),
    "query": Words(
        "Answers one statement of SQL from a backup of {system}, or from all of them. The rows "
        "are kept in the run, where everybody who sees it can read them."
    ),
    "history": Words(
        "Follows one record of {system} through the backups: when it came, changed, went and came "
        "back. The versions are kept in the run, where everybody who sees it can read them."
    ),
    "diff": Words(
        "Shows what became of the rows of a backup of {system} until another one, or until now. "
        "Some of the rows are kept in the run, where everybody who sees it can read them.",
        "nothing, but for the file that `to` may name",
    ),
    "link": Words(
        "Makes links by which anybody can fetch the objects of a backup of {system} for a while. "
        "They are kept in the run, where everybody who sees it can use them until they end.",
        back="links cannot be taken back: they end by themselves",
    ),
    "csv_export": Words(
        "Writes tables of {system} as CSV files, from the live database or from a backup, all as "
        "they were at one moment.",
        "a folder on the machine where it runs; files that exist are not replaced",
        back="remove the files",
    ),
    "csv_template": Words(
        "Writes empty files for an import into tables of {system}, and what each of their columns "
        "takes.",
        "a folder on the machine where it runs; files that exist are not replaced",
        back="remove the files",
    ),
}
WORDS: Mapping[str, Words] = {**_BACKUPS, **_RESTORES, **_REMOVALS, **_LOOKS}
"""By operation, as in job_names.all_operations."""

_ROTATION = Words(
    "Verifies those backups of {system} that were verified longest ago, as many as it takes to "
    "verify each within the days that the YAML sets (`verify.days`).",
    WORDS["verify"].changes,
)


def about(system: str, job: str) -> str:
    """The description of a job, in markdown."""
    operation = job_names.all_operations(system)[job]
    said = _ROTATION if job == job_names.verify_rotation_job(system) else WORDS[operation]
    least = roles.needed(operation)
    lines = [
        said.does,
        "",
        f"- Changes: {said.changes}.",
        f"- Never changes: {said.never}.",
        f"- To take it back: {said.back}.",
        f"- Who may run it: where the YAML says `access: enforced`, the role {least} or a higher "
        "one; else everybody who reaches this page.",
    ]
    return "\n".join(lines).replace("{system}", system)
