"""Who started a run: the `created_by` of backups and the actor of the audit trail.

The command line sends the operating system's user (or `--as`) in the tag of OPERATOR_TAG. In the UI
an authenticating proxy in front of Dagster sets Dagster's own tag `user`. The open-source UI has no
log-in, so without either nobody is claimed.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import dagster as dg

OPERATOR_TAG = "backup_pipelines/operator"
PROXY_USER_TAG = "user"

# Dagster's own tags on the runs that its daemon launches.
_DAEMON_TAGS = ("dagster/schedule_name", "dagster/sensor_name")

SCHEDULE = "schedule"
UNKNOWN = "unknown (UI without log-in)"


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


def operator_of(run: dg.DagsterRun) -> str:
    """The operator of a run, from its tags or from the request that it carries out."""
    if _acting.get():
        return _acting.get()
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
