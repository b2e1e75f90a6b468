"""Who started a run: the `created_by` of backups and the actor of the audit trail.

Whoever has signed in is signed for on the run, by our run coordinator or the command line, and that
is believed before anything else. Where access is open nobody need: the command line sends the
operating system's user (or `--as`) in the tag of OPERATOR_TAG, an authenticating proxy in front of
Dagster sets Dagster's own tag `user`, and without either nobody is claimed.
"""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

import dagster as dg

from backup_pipelines.access.identity import Identity, read, run_purpose, sign
from backup_pipelines.errors import BackupError
from backup_pipelines.system import System

OPERATOR_TAG = "backup_pipelines/operator"
PROXY_USER_TAG = "user"

# Dagster's UI and GraphQL hide tags of this prefix: it is nothing to read.
IDENTITY_TAG = ".dagster/backup_pipelines_identity"
"""Run tag with the operator's identity, signed for this one run."""

# Dagster's own tags on the runs that its daemon launches.
_DAEMON_TAGS = ("dagster/schedule_name", "dagster/sensor_name")

SCHEDULE = "schedule"
UNKNOWN = "unknown (UI without log-in)"
UNSIGNED = "unknown (nobody has signed)"


def stamp(identity: Identity, run_id: str) -> dict[str, str]:
    """The tags by which the ops of a run know who started it; Refused where there is no key."""
    signature = sign(identity, run_purpose(run_id))
    return {OPERATOR_TAG: identity.name, IDENTITY_TAG: signature}


def identity_of(run: dg.DagsterRun) -> Identity | None:
    """Who has signed for this very run; None where nobody has.

    Raises Refused for any other signature, such as a re-execution has from its parent.
    """
    signature = run.tags.get(IDENTITY_TAG)
    return read(signature, run_purpose(run.run_id)) if signature else None


_acting: ContextVar[str] = ContextVar("_acting", default="")


@contextmanager
def acting_for(operator: str) -> Generator[None, None, None]:
    """Inside the block the run's operator is this one, whom its op has found to be signed for.

    The tags of a run are fixed for its ops when it starts; who signed is known only later.
    """
    token = _acting.set(operator)
    try:
        yield
    finally:
        _acting.reset(token)


def operator_of(run: dg.DagsterRun, system: System | None = None) -> str:
    """The operator of a run: of the request that it carries out, who has signed, or by its tags.

    With a `system` whose access is enforced, tags that anybody can send are not believed.
    """
    if _acting.get():
        return _acting.get()
    with suppress(BackupError):
        known = identity_of(run)
        if known is not None:
            return known.name
    if system is not None and system.access == "enforced":
        return UNSIGNED
    # A re-execution in the UI copies the tags of its parent, whose operator was another person.
    if run.parent_run_id is None:
        if run.tags.get(OPERATOR_TAG):
            return run.tags[OPERATOR_TAG]
        if is_automatic(run):
            return SCHEDULE
    return run.tags.get(PROXY_USER_TAG) or UNKNOWN


def is_automatic(run: dg.DagsterRun) -> bool:
    """Whether the daemon launched the run by a schedule or a sensor."""
    return run.parent_run_id is None and any(tag in run.tags for tag in _DAEMON_TAGS)
