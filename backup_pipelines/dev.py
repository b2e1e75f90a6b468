"""`make dev`: the Dagster UI and daemon on this project, the demo where nothing else is set."""

import os
import subprocess
import sys

from backup_pipelines import environment
from backup_pipelines.demo.databases import Demo
from backup_pipelines.demo.seed import SYSTEMS

_PORT = os.environ.get("PORT", "3000")


def main() -> int:
    """Run `dagster dev` on loopback until it is interrupted; returns its exit code."""
    demo = Demo(environment.home())
    with demo.server.running(), environment.dagster_environment():
        for system in SYSTEMS:
            demo.ensure_system(system)
        print(f"The UI will be at http://127.0.0.1:{_PORT} in a few seconds; Ctrl-C ends it.")
        command = [sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", _PORT]
        try:
            return subprocess.run(command, cwd=environment.home(), check=False).returncode
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
