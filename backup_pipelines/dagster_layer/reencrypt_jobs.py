"""The job that encrypts backups anew: for the recipients that the YAML names by now, or none."""

from typing import TYPE_CHECKING

import dagster as dg

from backup_pipelines.dagster_layer import (
    job_names,
    labels,
    lock_ops,
    metadata,
    operations,
    operators,
)
from backup_pipelines.dagster_layer.config import ReencryptConfig
from backup_pipelines.dagster_layer.jobs import refuse_reexecution
from backup_pipelines.dagster_layer.op_jobs import configured_op_job
from backup_pipelines.dagster_layer.removal_ops import named
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import BackupError, Failed, Refused
from backup_pipelines.progress import sparse
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.wording import count

if TYPE_CHECKING:
    from backup_pipelines.copies.reencrypt import Reencrypted

_OPERATION = "reencrypt"


def reencrypt_jobs(system: System) -> list[dg.JobDefinition]:
    """The job of a system that encrypts backups anew."""
    return [
        # In the pool, since a backup removes folders without a manifest as leftovers.
        configured_op_job(
            system,
            job_names.reencrypt_job(system.system),
            _reencrypt,
            ReencryptConfig,
            of_backup=True,
        )
    ]


def _reencrypt(
    system: System,
    context: dg.OpExecutionContext,
    config: ReencryptConfig,
    environment: BackupEnvironment,
) -> None:
    from backup_pipelines.copies import reencrypt, shared_parts
    from backup_pipelines.dagster_layer import catalog_rebuild

    with operations.operation(
        context, system, _OPERATION, environment, reason=config.reason, unless_done=True
    ):
        refuse_reexecution(context.run)
        store = environment.store()
        due = reencrypt.due(
            store,
            system,
            named(context, config),
            operator=operators.operator_of(context.run),
            report=context.log.info,
        )
    done: list[Reencrypted] = []
    problems: dict[str, BackupError] = {}
    try:
        for backup_id in due:
            try:
                done.append(_one(system, context, config, environment, store, backup_id))
            except BackupError as error:
                # One that is damaged must not keep the others from their turn.
                problems[backup_id] = error
                context.log.error(str(error))
    finally:
        # It reports the newest backup last, and launches no prune.
        catalog_rebuild.rebuild_catalog(context.instance, store, system.system)
    named_yet = shared_parts.still_named(
        store, system.system, [one.old for one in done if one.named]
    )
    document = {
        "system": system.system,
        "recipients": list(system.encryption.recipients),
        "backups": [
            {"old": one.old, "new": one.new, "kept": one.kept, "named": named_yet.get(one.old, 0)}
            for one in done
        ],
        "failed": {name: str(error) for name, error in problems.items()},
    }
    lines = [f"- {one.old}: {one.in_words}" for one in done]
    shown: dict[str, metadata.Value] = {
        labels.SUMMARY: f"{count(len(done), 'backup')} encrypted anew, {len(problems)} not",
        "backups_encrypted_anew": len(done),
        "backups": dg.MetadataValue.md("\n".join(lines) or "none"),
    }
    metadata.leave_result(context, document, shown)
    if named_yet:
        listed = "\n".join(
            f"- {name}: {count(there, 'object')}" for name, there in named_yet.items()
        )
        context.log.warning(
            "other backups name objects of these, which stay as they were, so the old key opens "
            f"them: encrypt all backups anew\n{listed}"
        )
    if problems:
        listed = "\n".join(f"- {name}: {error}" for name, error in problems.items())
        refused = all(isinstance(error, Refused) for error in problems.values())
        kind = Refused if refused and not done else Failed
        raise kind(f"{len(problems)} of {len(due)} were not encrypted anew:\n{listed}")
    context.log.info(f"{len(done)} backups are encrypted anew")


def _one(
    system: System,
    context: dg.OpExecutionContext,
    config: ReencryptConfig,
    environment: BackupEnvironment,
    store: Store,
    backup_id: str,
) -> "Reencrypted":
    from backup_pipelines.copies.reencrypt import reencrypt

    with operations.operation(
        context, system, _OPERATION, environment, reason=config.reason
    ) as work:
        work.backup = backup_id
        done = reencrypt(
            store,
            system,
            backup_id,
            operator=operators.operator_of(context.run),
            reason=config.reason,
            report=sparse(context.log.info),
        )
        work.message = done.in_words
        work.details |= {
            "new": done.new,
            "recipients": ", ".join(system.encryption.recipients) or "nobody",
        }
        context.log.info(f"{backup_id}: {done.in_words}")
        lock_ops.lock_due(context, system, store, work)
    return done
