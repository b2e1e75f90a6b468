"""The verb that encrypts backups anew."""

import click

from backup_pipelines import catalog, environment
from backup_pipelines.cli import audit as cli_audit
from backup_pipelines.cli.jobs import by_option, json_option, loadable, run_job
from backup_pipelines.cli.output import (
    print_json,
    print_table,
    tell,
)
from backup_pipelines.cli.restore import confirm_option, reason_option, require_confirm
from backup_pipelines.wording import clean, count

_ALL = "all"


@click.command()
@click.argument("system")
@click.argument("backup")
@confirm_option
@reason_option
@by_option
@json_option
def reencrypt(
    system: str,
    backup: str,
    confirm: str | None,
    reason: str,
    operator: str | None,
    as_json: bool,
) -> None:
    """Encrypt a BACKUP of SYSTEM, or all, for the recipients that its YAML names today."""
    with cli_audit.refusals(system, "reencrypt", operator=operator, backup=backup, reason=reason):
        require_confirm(confirm, f"{backup} will be copied under new ids, and the old ones removed")
        loadable(system)
        if backup != _ALL:
            backup = catalog.find(environment.store(), system, backup).id
    config = {"backup": backup, "reason": reason, "confirm": confirm}
    ran = run_job(system, "reencrypt", config, f"encrypting {backup} anew", operator)
    if as_json:
        print_json({**ran.result, "run_id": ran.run_id})
        return
    done = ran.result["backups"]
    if done:
        print_table(
            ("backup", "is now"),
            [(one["old"], one["new"]) for one in done],
            whole=("backup", "is now"),
        )
    for one in done:
        if one["kept"]:
            tell(f"still there: {one['old']}: {clean(one['kept'])}")
    keys = ran.result["recipients"]
    whom = f"for {count(len(keys), 'recipient')}" if keys else "in plain, as the YAML names nobody"
    print(f"{system}: {count(len(done), 'backup')} stored anew {whom}")
