"""The gate that every op goes through before it touches anything, where access is enforced.

The run coordinator asks the same at the launch; but runs come here without it too: from the command
line, by `dagster job execute`, from an instance whose dagster.yaml names another coordinator.
"""

from backup_pipelines.access import deciding, identity
from backup_pipelines.dagster_layer import operations, operators
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.system import System


def allow(
    context: operations.Context,
    system: System,
    operation: str,
    environment: BackupEnvironment,
    reason: str = "",
) -> None:
    """Raise NotAllowed, and leave word of it, unless who signed for the run may do the operation.

    Raises Refused where that cannot be told.
    """
    if system.access == "open":
        return
    with operations.operation(
        context, system, operation, environment, reason=reason, unless_done=True
    ):
        # What is missing is said, rather than that nobody has signed.
        identity.key()
        deciding.require(system, operation, operators.identity_of(context.run))
