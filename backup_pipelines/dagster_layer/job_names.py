"""Every name of a job, an op, a schedule, a sensor or a pool; they are in people's scripts."""

from collections.abc import Mapping


def modules_job(system: str) -> str:
    """The job that counts the live records of each module."""
    return f"{system}_modules"


def backup_job(system: str) -> str:
    """The job that backs up."""
    return f"{system}_backup"


def drill_job(system: str) -> str:
    """The job that proves a backup by restoring it into a scratch database."""
    return f"{system}_drill"


def verify_job(system: str) -> str:
    """The job that reads a backup's objects back."""
    return f"{system}_verify"


def verify_rotation_job(system: str) -> str:
    """The job that reads back the backups that were verified longest ago."""
    return f"{system}_verify_rotation"


def restore_into_job(system: str) -> str:
    """The job that restores a backup into an empty database."""
    return f"{system}_restore_into"


def plan_job(system: str) -> str:
    """The job that shows what a restore would do."""
    return f"{system}_plan"


def restore_job(system: str) -> str:
    """The job that restores a backup into the live database."""
    return f"{system}_restore"


def undo_job(system: str) -> str:
    """The job that takes the last restore back."""
    return f"{system}_undo"


def request_job(system: str) -> str:
    """The job that carries out one request of the application."""
    return f"{system}_request"


def requests_sensor(system: str) -> str:
    """The sensor that looks for requests of the application."""
    return f"{system}_requests"


def health_job(system: str) -> str:
    """The job that looks at the health of a system's backups and tells people what changed."""
    return f"{system}_health"


def prune_job(system: str) -> str:
    """The job that removes what retention no longer keeps."""
    return f"{system}_prune"


def delete_job(system: str) -> str:
    """The job that removes one backup by hand."""
    return f"{system}_delete"


def pin_job(system: str) -> str:
    """The job that keeps a backup from being pruned."""
    return f"{system}_pin"


def unpin_job(system: str) -> str:
    """The job that lets retention decide about a backup again."""
    return f"{system}_unpin"


def reconcile_job(system: str) -> str:
    """The job that compares store and catalog."""
    return f"{system}_reconcile"


def catalog_rebuild_job(system: str) -> str:
    """The job that brings the catalog back from the store."""
    return f"{system}_catalog_rebuild"


def acknowledge_job(system: str) -> str:
    """The job by which a person ends a freeze of pruning."""
    return f"{system}_acknowledge"


def upload_job(system: str) -> str:
    """The job that puts the backup of an archive into the store."""
    return f"{system}_upload"


def reencrypt_job(system: str) -> str:
    """The job that encrypts backups anew, for today's recipients."""
    return f"{system}_reencrypt"


def copy_job(system: str) -> str:
    """The job that copies backups to the second store."""
    return f"{system}_copy"


def copy_pool(system: str) -> str:
    """The pool that lets one copy of a system run at a time; backups never wait for it."""
    # No system is called so: `crm_copy` may be one.
    return f"{system}/copy"


def copy_sensor(system: str) -> str:
    """The sensor that has copies follow backups."""
    return f"{system}_copy_after_backup"


def query_job(system: str) -> str:
    """The job that answers SQL from backups."""
    return f"{system}_query"


def history_job(system: str) -> str:
    """The job that follows one record through the backups."""
    return f"{system}_history"


def diff_job(system: str) -> str:
    """The job that says what became of each row."""
    return f"{system}_diff"


def link_job(system: str) -> str:
    """The job that makes links to a backup's objects."""
    return f"{system}_link"


def csv_export_job(system: str) -> str:
    """The job that writes tables as CSV files."""
    return f"{system}_csv_export"


def csv_template_job(system: str) -> str:
    """The job that writes empty CSV files for an import, and what their columns take."""
    return f"{system}_csv_template"


def csv_plan_job(system: str) -> str:
    """The job that validates CSV files and shows what their import would write."""
    return f"{system}_csv_plan"


def csv_import_job(system: str) -> str:
    """The job that writes the rows of CSV files into the live database."""
    return f"{system}_csv_import"


def operations_by_job(system: str) -> Mapping[str, str]:
    """The jobs whose runs are operations, and which; looking at the health is none."""
    # Not by their prefix alone: `crm_eu` has jobs that begin with `crm_`.
    made = (
        backup_job(system),
        drill_job(system),
        verify_job(system),
        restore_into_job(system),
        plan_job(system),
        restore_job(system),
        undo_job(system),
        request_job(system),
        prune_job(system),
        delete_job(system),
        pin_job(system),
        unpin_job(system),
        reconcile_job(system),
        catalog_rebuild_job(system),
        acknowledge_job(system),
        upload_job(system),
        csv_export_job(system),
        csv_template_job(system),
        csv_plan_job(system),
        csv_import_job(system),
        query_job(system),
        history_job(system),
        diff_job(system),
        link_job(system),
        reencrypt_job(system),
        copy_job(system),
    )
    by_name = {job: job.removeprefix(f"{system}_") for job in made}
    return by_name | {verify_rotation_job(system): "verify"}


def all_operations(system: str) -> Mapping[str, str]:
    """Every job and what it does, the looks at the health and the modules included."""
    return {
        **operations_by_job(system),
        health_job(system): "health",
        modules_job(system): "modules",
    }


def schedule_of(job: str) -> str:
    """The schedule of a job; people switch it on and off."""
    return f"{job}_schedule"


def module_schedule(system: str, module: str) -> str:
    """The schedule of one module's backups."""
    return schedule_of(f"{system}_{module}_backup")


def due_sensor(system: str) -> str:
    """The sensor that launches what is overdue: missed ticks and retries of what failed."""
    return f"{system}_due"


def prune_sensor(system: str) -> str:
    """The sensor that requests a prune after each backup."""
    return f"{system}_prune_after_backup"


def health_sensor(system: str) -> str:
    """The sensor that has the health looked at after each run, and regularly."""
    return f"{system}_health_watch"


def op_of(job: str) -> str:
    """The one op of a job, whose config the run config holds; Dagster wants its name to differ."""
    return f"{job}_op"


def pool(system: str) -> str:
    """The concurrency pool that lets one backup or restore of a system run at a time."""
    return system
