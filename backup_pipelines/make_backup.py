"""`make backup`: a full backup of every system that is defined, and their catalogs."""

import sys

from backup_pipelines import environment, systems
from backup_pipelines.cli.__main__ import main as cli
from backup_pipelines.demo.databases import Demo

_HEADINGS = {"backup": "taking a full backup", "list": "its catalog"}


def main() -> int:
    """Back up every system, show every catalog; returns the first exit code that is not 0."""
    # Held throughout, so that the embedded server starts once, not once a verb.
    with Demo(environment.home()).server.running():
        names = sorted(systems.load_systems())
        for command in ("backup", "list"):
            for name in names:
                print(f"\n{name}: {_HEADINGS[command]}", flush=True)
                code = cli([command, name])
                if code != 0:
                    return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
