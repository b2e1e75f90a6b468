"""The values for Dagster's Helm chart, against the keys of the chart and our own dagster.yaml."""

import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from backup_pipelines.environment import for_dagster
from backup_pipelines_tests.test_deployment import FOLDER, PROJECT, read

# The keys of the chart, from helm/dagster/schema of github.com/dagster-io/dagster, as of the
# versions that its public history holds: schema/charts/dagster/values.py and subschema/*.py,
# schema/charts/dagster_user_deployments/subschema/user_deployments.py. True is anything below.
_IMAGE = {"repository": True, "tag": True, "pullPolicy": True}
_POD = {"image": _IMAGE, "podSecurityContext": True, "securityContext": True, "resources": True}
_CHART: Mapping[str, Any] = {
    "global": {
        "postgresqlSecretName": True,
        "dagsterHome": True,
        "serviceAccountName": True,
        "celeryConfigSecretName": True,
    },
    "generatePostgresqlPasswordSecret": True,
    "generateCeleryConfigSecret": True,
    "rabbitmq": {"enabled": True},
    "redis": {"enabled": True},
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
        "config": {
            "customRunLauncher": {"module": True, "class": True, "config": True},
            "k8sRunLauncher": {
                **dict.fromkeys(("imagePullPolicy", "volumes", "volumeMounts", "resources"), True),
                "envSecrets": [{"name": True}],
                "runK8sConfig": dict.fromkeys(
                    ("podSpecConfig", "podTemplateSpecMetadata", "jobSpecConfig"), True
                ),
            },
            "celeryK8sRunLauncher": {
                **_POD,
                "workerQueues": [
                    {"name": True, "replicaCount": True, "additionalCeleryArgs": True}
                ],
                "configSource": True,
                "envSecrets": [{"name": True}],
                "volumes": True,
                "volumeMounts": True,
            },
        },
    },
    "dagsterWebserver": {
        **_POD,
        "replicaCount": True,
        "service": {"type": True, "port": True, "annotations": True},
        "workspace": {"enabled": True, "servers": [{"host": True, "port": True, "name": True}]},
    },
    "dagsterDaemon": {
        **_POD,
        "enabled": True,
        "envSecrets": [{"name": True}],
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


_LAUNCHERS = {"helm-scale.yaml": "k8sRunLauncher", "helm-celery.yaml": "celeryK8sRunLauncher"}


@pytest.mark.parametrize("name", sorted(_LAUNCHERS))
def test_values_for_many_systems_are_keys_of_the_chart(name: str) -> None:
    """They stand on top of the others; the launched pods have what the code server has."""
    values, first = read(name), read("helm-values.yaml")
    assert list(unknown(values, _CHART)) == []
    [(key, pod)] = values["runLauncher"]["config"].items()
    assert (key, key.lower()) == (_LAUNCHERS[name], values["runLauncher"]["type"].lower())
    [code] = first["dagster-user-deployments"]["deployments"]
    assert pod["envSecrets"] == code["envSecrets"]
    # The chart itself mounts the instance's configuration into what it launches.
    for part in ("volumes", "volumeMounts"):
        assert pod[part] == [one for one in code[part] if one["name"] != "instance"]
    if "image" in pod:
        assert pod["image"] == code["image"]
    # Only the number of runs is another than on one machine.
    assert values["additionalInstanceConfig"] == {
        "concurrency": {"runs": {"max_concurrent_runs": 25}}
    }
    assert set(values["additionalInstanceConfig"]) <= set(first["additionalInstanceConfig"])


def test_the_packages_of_the_launchers_fit_dagster() -> None:
    """What the files tell people to install is of the pinned version of Dagster."""
    pinned = dict(
        line.split("==") for line in (PROJECT / "constraints.txt").read_text().splitlines()
    )
    for name in _LAUNCHERS:
        [version] = re.findall(r"pip install dagster-[\w-]+==([\d.]+)", (FOLDER / name).read_text())
        assert version == pinned["dagster-aws"]


def test_the_dask_cluster_of_kubernetes() -> None:
    """Scheduler and workers run commands that Dask has, and only workers have the secrets."""
    documents = list(yaml.safe_load_all((FOLDER / "dask.yaml").read_text()))
    service, scheduler, workers, policy = documents
    deployed = read("helm-values.yaml")["dagsterWebserver"]["image"]
    image = f"{deployed['repository']}:{deployed['tag']}"
    address = f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    for part, document in (("scheduler", scheduler), ("worker", workers)):
        pod = document["spec"]["template"]
        assert pod["metadata"]["labels"] == document["spec"]["selector"]["matchLabels"]
        [container] = pod["spec"]["containers"]
        assert container["image"] == image
        program, command, *words = container["command"]
        assert (program, command) == ("dask", part)
        parsed = importlib.import_module(f"distributed.cli.dask_{part}").main.make_context(
            command, list(words)
        )
        assert parsed.params
        assert ("envFrom" in container) == (part == "worker")
    [container] = workers["spec"]["template"]["spec"]["containers"]
    assert address in container["command"] and address in (FOLDER / "dask.yaml").read_text()
    assert container["envFrom"] == [{"secretRef": {"name": "backup-env"}}]
    assert (
        service["spec"]["selector"].items() <= scheduler["spec"]["selector"]["matchLabels"].items()
    )
    assert policy["spec"]["podSelector"]["matchLabels"] == {"app": "backup-dask"}


def test_the_web_server_beside_the_chart_is_the_one_with_a_log_in() -> None:
    """The chart's own has none, and none of it runs; ours runs the command of the other ways."""
    values = read("helm-values.yaml")
    assert values["dagsterWebserver"]["replicaCount"] == 0
    documents = list(yaml.safe_load_all((FOLDER / "helm-webserver.yaml").read_text()))
    [deployment, service] = documents
    pod = deployment["spec"]["template"]
    [container] = pod["spec"]["containers"]
    assert container["command"] == read("compose.yaml")["services"]["webserver"]["command"]
    image = values["dagsterWebserver"]["image"]
    assert container["image"] == f"{image['repository']}:{image['tag']}"
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    mounted = {one["name"] for one in container["volumeMounts"]}
    assert mounted == {one["name"] for one in pod["spec"]["volumes"]}
    # Everybody who signs or believes a signature has the key.
    named = [{"secretRef": {"name": "access-env"}}]
    assert container["envFrom"] == named
    for having in (
        values["dagsterDaemon"],
        values["dagster-user-deployments"]["deployments"][0],
    ):
        assert {"name": "access-env"} in having["envSecrets"]
