"""What `dg scaffold defs backup_pipelines.PostgresBackup NAME` writes: a system that loads."""

import re

import dagster as dg


class PostgresBackupScaffolder(dg.Scaffolder):
    """Writes a `defs.yaml` with one module of all tables, to start from.

    `backup-pipelines init` knows more, since it reads the database.
    """

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Write the file of a system that is called as its folder is."""
        name = re.sub(r"[^a-z0-9]+", "_", request.target_path.name.lower()).strip("_")
        if not name or name[0].isdigit():
            name = f"system_{name}".strip("_")
        attributes = {
            "system": name,
            "database_url_env": f"{name.upper()}_DATABASE_URL",
            "modules": {"everything": {"tables": ["*.*"]}},
        }
        dg.scaffold_component(request, attributes)
