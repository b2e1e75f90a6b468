"""`make dev`: the Dagster UI and daemon on this project, the demo where nothing else is set."""

import os
import signal
import subprocess
import sys
from types import FrameType

from backup_pipelines import environment, systems
from backup_pipelines.access import deciding
from backup_pipelines.demo.databases import Demo
from backup_pipelines.demo.seed import SYSTEMS
from backup_pipelines.errors import BackupError

_PORT = os.environ.get("PORT", "3000")


def main() -> int:
    """Run `dagster dev` on loopback until it is interrupted; returns its exit code."""
    demo = Demo(environment.home())
    with demo.server.running(), environment.dagster_environment():
        for system in SYSTEMS:
            demo.ensure_system(system)
        print(f"The UI will be at http://127.0.0.1:{_PORT} in a few seconds; Ctrl-C ends it.")
        print(_about_access(), flush=True)
        command = [sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", _PORT]
        return _run_to_its_end(command)


def _about_access() -> str:
    """What this UI, which has no log-in, is good for."""
    try:
        found = systems.load_systems()
    except BackupError as error:
        # The UI shows it, too.
        return str(error)
    enforced = deciding.enforced(found)
    if not enforced:
        return "It has no log-in: access is open. One with a log-in: backup-pipelines serve"
    return (
        f"It has no log-in, and access to {', '.join(enforced)} is enforced: what is started here "
        "is refused there. Sign in at: backup-pipelines serve"
    )


def _run_to_its_end(command: list[str]) -> int:
    """Run a program that stops its own children, and wait for it however we are told to end."""
    with subprocess.Popen(command, cwd=environment.home()) as process:

        def hand_on(number: int, frame: FrameType | None) -> None:
            del number, frame
            # Ctrl-C reaches the whole process group; a signal for us alone has to be handed on.
            process.send_signal(signal.SIGINT)

        signal.signal(signal.SIGTERM, hand_on)
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue


if __name__ == "__main__":
    sys.exit(main())
