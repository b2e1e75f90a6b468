"""The values for Dagster's Helm chart, against the keys of the chart and our own dagster.yaml."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from backup_pipelines.environment import for_dagster
from backup_pipelines_tests.test_deployment import read

# The keys of the chart, from helm/dagster/schema of github.com/dagster-io/dagster, as of the
# versions that its public history holds: schema/charts/dagster/values.py and subschema/*.py,
# schema/charts/dagster_user_deployments/subschema/user_deployments.py. True is anything below.
_IMAGE = {"repository": True, "tag": True, "pullPolicy": True}
_POD = {"image": _IMAGE, "podSecurityContext": True, "securityContext": True, "resources": True}
_CHART: Mapping[str, Any] = {
    "global": {"postgresqlSecretName": True, "dagsterHome": True, "serviceAccountName": True},
    "generatePostgresqlPasswordSecret": True,
    "postgresql": {
        "enabled": True,
        "postgresqlHost": True,
        "postgresqlUsername": True,
        "postgresqlDatabase": True,
        "postgresqlScheme": True,
        "service": {"port": True},
    },
    "dagster-user-deployments": {
        "enabled": True,
        "enableSubchart": True,
        "deployments": [
            {
                **_POD,
                "name": True,
                "port": True,
                "dagsterApiGrpcArgs": True,
                "envSecrets": [{"name": True}],
                "readinessProbe": True,
                "volumes": True,
                "volumeMounts": True,
            }
        ],
    },
    "runLauncher": {
        "type": True,
        "config": {"customRunLauncher": {"module": True, "class": True, "config": True}},
    },
    "dagsterWebserver": {
        **_POD,
        "enableReadOnly": True,
        "service": {"type": True, "port": True, "annotations": True},
        "workspace": {"enabled": True, "servers": [{"host": True, "port": True, "name": True}]},
    },
    "dagsterDaemon": {
        **_POD,
        "enabled": True,
        "runCoordinator": {"enabled": True, "type": True, "config": True},
        "runMonitoring": True,
        "runRetries": True,
        "sensors": {"useThreads": True, "numWorkers": True, "numSubmitWorkers": True},
        "schedules": {"useThreads": True, "numWorkers": True, "numSubmitWorkers": True},
    },
    "telemetry": {"enabled": True},
    "retention": {"enabled": True, "sensor": True, "schedule": True, "autoMaterialize": True},
    "additionalInstanceConfig": True,
}


def unknown(values: Any, schema: Any, at: str = "") -> Iterator[str]:
    """The keys of values that a schema lacks."""
    if schema is True:
        return
    if isinstance(values, list):
        for value in values:
            yield from unknown(value, schema[0], at)
        return
    for key, value in values.items():
        if key not in schema:
            yield f"{at}.{key}"
        elif isinstance(value, (dict, list)):
            yield from unknown(value, schema[key], f"{at}.{key}")


def test_helm_values_are_keys_of_the_chart() -> None:
    """No key is one that the chart would ignore, and the launcher exists."""
    values = read("helm-values.yaml")
    assert list(unknown(values, _CHART)) == []
    launcher = values["runLauncher"]["config"]["customRunLauncher"]
    assert hasattr(importlib.import_module(launcher["module"]), launcher["class"])
    assert values["postgresql"]["postgresqlScheme"] == for_dagster("postgresql://").split(":")[0]


def test_helm_gives_the_instance_what_dagster_yaml_does() -> None:
    """What the chart does not write itself is the same as in dagster.yaml."""
    deployed = read("dagster.yaml")
    for written_by_the_chart in ("storage", "telemetry", "sensors", "schedules"):
        del deployed[written_by_the_chart]
    assert read("helm-values.yaml")["additionalInstanceConfig"] == deployed
