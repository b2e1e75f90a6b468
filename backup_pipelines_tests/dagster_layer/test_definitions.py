"""The shipped systems as Dagster sees them; a rename shows as a diff here.

After a wanted change write the file anew:
    python -m backup_pipelines_tests.dagster_layer.test_definitions
"""

from pathlib import Path

import dagster as dg
import pytest

from backup_pipelines.dagster_layer import config
from backup_pipelines.definitions import defs

SNAPSHOT = Path(__file__).with_name("shipped.txt")


def lines() -> list[str]:
    """Every asset with its group, job with its ops, check and partition set of the repository."""
    repository = defs().get_repository_def()
    graph = repository.asset_graph
    found: list[str] = []
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        kind = "asset" if node.is_executable else "external asset"
        set_name = getattr(node.partitions_def, "name", None)
        by = f" by {set_name}" if set_name else ""
        found.append(f"{kind} {key.to_user_string()} in {node.group_name}{by}")
    for check in graph.asset_check_keys:
        found.append(f"check {check.name} of {check.asset_key.to_user_string()}")
    for job in repository.get_all_jobs():
        if job.name.startswith("__"):
            continue
        ops = ", ".join(f"{node.name} in pool {node.definition.pools}" for node in job.nodes)
        found.append(f"job {job.name}: {ops}")
    return sorted(found)


def test_shipped_definitions() -> None:
    """Names are promises: assets are history, and jobs and ops are in people's scripts."""
    assert lines() == SNAPSHOT.read_text().splitlines()


def test_everything_is_described() -> None:
    """The UI explains each asset and job; all jobs run in one process."""
    for spec in defs().resolve_all_asset_specs():
        assert spec.description, spec.key
    for job in defs().get_repository_def().get_all_jobs():
        assert job.executor_def.name == "in_process", job.name
        assert job.description or job.name.startswith("__"), job.name


@pytest.mark.parametrize(
    "model",
    [
        config.BackupConfig,
        config.BackupChoice,
        config.RestoreIntoConfig,
        config.PlanConfig,
        config.CsvExportConfig,
        config.CsvTemplateConfig,
        config.QueryConfig,
        config.LiveRestoreConfig,
        config.UndoConfig,
        config.NamedBackup,
        config.DeleteConfig,
        config.PruneConfig,
        config.ReconcileConfig,
        config.AcknowledgeConfig,
        config.UploadConfig,
    ],
)
def test_every_config_field_is_described(model: type[dg.Config]) -> None:
    """The launchpad shows the description beside the field."""
    for name, field in model.model_fields.items():
        assert field.description, name


if __name__ == "__main__":
    SNAPSHOT.write_text("\n".join(lines()) + "\n")
