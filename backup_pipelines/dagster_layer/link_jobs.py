"""The job that leaves links to a backup's objects as metadata of its run."""

import dagster as dg

from backup_pipelines.copies import links
from backup_pipelines.dagster_layer import job_names, labels, metadata, operations
from backup_pipelines.dagster_layer.config import LinkConfig
from backup_pipelines.dagster_layer.jobs import chosen, refuse_reexecution
from backup_pipelines.dagster_layer.op_jobs import configured_op_job
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.system import System
from backup_pipelines.wording import size

# A link has half a thousand characters, and the event log keeps each for good.
_SHOWN = 500


def link_jobs(system: System) -> list[dg.JobDefinition]:
    """The link job of a system."""
    return [
        # It reads the manifest only, so it need not wait for the system's run.
        configured_op_job(
            system,
            job_names.link_job(system.system),
            _link,
            LinkConfig,
            of_backup=True,
            pooled=False,
        )
    ]


def _link(
    system: System,
    context: dg.OpExecutionContext,
    config: LinkConfig,
    environment: BackupEnvironment,
) -> None:
    environment = environment.at(system, config.store)
    with operations.operation(context, system, "link", environment, reason=config.reason) as work:
        # Otherwise one click would make new ones of links that were meant to end.
        refuse_reexecution(context.run)
        lifetime = links.parse_lifetime(config.expires)
        store = environment.store()
        entry = chosen(context, store, system.system, config)
        work.backup = entry.id
        made = links.make(store, entry, lifetime, config.tables)
        work.message = links.in_words(made, config.tables)
        context.add_output_metadata(
            {
                labels.SUMMARY: work.message,
                **metadata.named(entry.id),
                "expires_at": dg.MetadataValue.timestamp(made.until),
                "objects": len(made.links),
                "links": dg.MetadataValue.md(_table(made)),
            }
        )
        context.log.info(f"{entry.id}: {work.message}; {links.SECRET}")


def _table(made: links.Links) -> str:
    lines = ["| what | size | sha256 | object |", "|---|--:|---|---|"]
    for one in made.links[:_SHOWN]:
        name = one.key.rpartition("/backups/")[2]
        stored = "" if one.size_bytes is None else size(one.size_bytes)
        what = metadata.cell(one.what)
        lines.append(f"| {what} | {stored} | `{one.sha256[:12]}` | [{name}]({one.url}) |")
    left = len(made.links) - _SHOWN
    notes = [f"{left} more: choose tables, or use `backup-pipelines link`."] if left > 0 else []
    notes += [f"{links.ENCRYPTED[0].upper()}{links.ENCRYPTED[1:]}."] if made.is_encrypted else []
    return "\n".join(lines) + "".join(f"\n\n{note}" for note in notes)
