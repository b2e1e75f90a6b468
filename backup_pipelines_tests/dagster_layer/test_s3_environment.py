"""A store by the S3 resource of the definitions, without any AWS_* variable."""

import os
import secrets
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_aws.s3 import S3Resource

from backup_pipelines import PostgresBackup, catalog
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.dagster_layer.s3_environment import S3Environment
from backup_pipelines.definitions import environment_with, systems, with_environment
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Refused
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.dagster_layer.conftest import SHOP, TABLES, Shop
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_s3 import S3Server

RESOURCE = """\
import dagster as dg
from dagster_aws.s3 import S3Resource

@dg.definitions
def s3() -> dg.Definitions:
    key = S3Resource(
        endpoint_url=dg.EnvVar("OUR_S3"),
        region_name="us-east-1",
        aws_access_key_id=dg.EnvVar("OUR_KEY"),
        aws_secret_access_key=dg.EnvVar("OUR_SECRET"),
    )
    return dg.Definitions(resources={"s3": key})
"""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that leads to no S3 at all."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")


def test_definitions_of_another_project_take_its_resource(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Systems of YAML bring the usual world; a wrapper puts the project's resource in its place."""
    folder = f"project_{secrets.token_hex(4)}"
    (tmp_path / folder / "defs" / "shop").mkdir(parents=True)
    (tmp_path / folder / "defs" / "s3.py").write_text(RESOURCE)
    text = "type: backup_pipelines.PostgresBackup\nattributes: " + SHOP.model_dump_json()
    (tmp_path / folder / "defs" / "shop" / "defs.yaml").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    found = systems(import_module(f"{folder}.defs"))
    assert type((found.resources or {})["backup_environment"]) is BackupEnvironment
    wrapped = with_environment(found)
    assert isinstance((wrapped.resources or {})["backup_environment"], S3Environment)
    assert wrapped.resolve_job_def("shop_backup")


@pytest.mark.usefixtures("bare")
def test_a_backup_by_the_resource_alone(
    moto_server: S3Server,
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The file in `defs/` is found; the bucket is made, locked by the YAML, backed up to, read."""
    folder = f"project_{secrets.token_hex(4)}"
    (tmp_path / folder / "defs").mkdir(parents=True)
    (tmp_path / folder / "defs" / "s3.py").write_text(RESOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    url = f"s3://ours-{secrets.token_hex(6)}/p"
    database = make_database(server)
    database.run(TABLES)
    given = {
        "OUR_S3": moto_server.endpoint,
        "OUR_KEY": moto_server.access_key,
        "OUR_SECRET": moto_server.secret_key,
        "BACKUP_STORE_URL": url,
        "SHOP_DATABASE_URL": database.reader_url,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    locked = SHOP.model_validate(
        {**SHOP.model_dump(), "object_lock": {"mode": "governance", "days": 3}}
    )
    found = systems(import_module(f"{folder}.defs"))
    environment = environment_with(found.resources)
    assert isinstance(environment, S3Environment)
    defs = dg.Definitions.merge(
        found,
        dg.build_defs_for_component(PostgresBackup(locked)),
        dg.Definitions(resources={"backup_environment": environment}),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        shop = Shop(database, Store(tmp_path.as_uri()), instance, defs)
        backup_id = shop.backup()
        assert shop.run("shop_verify", {"backup": backup_id}).success
        linked = shop.run("shop_link", {"backup": backup_id, "expires": "10m", "reason": "audit"})
        assert linked.success
        said = [event.message for event in instance.all_logs(linked.run_id)]
        shown = _metadata(linked)
        assert f"({moto_server.endpoint}/" in shown["links"]
        assert "X-Amz-Expires=600" in shown["links"]
        assert shown["objects"] > 5
        # Links are in the metadata, and nowhere else.
        assert not any("X-Amz-Signature" in text for text in said)
    moto_server.use(monkeypatch)
    store = Store(url)
    [entry] = catalog.backups(store, "shop")
    assert entry.id == backup_id
    bucket = url.split("/")[2]
    head = moto_server.client().head_object(
        Bucket=bucket, Key=f"p/shop/backups/{backup_id}/manifest.json"
    )
    assert head["ObjectLockMode"] == "GOVERNANCE"


def _metadata(result: dg.ExecuteInProcessResult) -> Mapping[str, Any]:
    [event] = [e for e in result.all_events if e.is_successful_output]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


@pytest.mark.usefixtures("bare")
def test_what_the_resource_leaves_open(
    moto_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint alone goes with the credentials of the environment; half of them is refused."""
    bucket = moto_server.bucket()
    monkeypatch.setenv("BACKUP_STORE_URL", f"s3://{bucket}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", moto_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", moto_server.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    S3Environment(s3=S3Resource(endpoint_url=moto_server.endpoint)).store().put_new("a", b"1")
    half = S3Environment(s3=S3Resource(aws_access_key_id="mine"))
    with pytest.raises(Refused, match="AWS_SECRET_ACCESS_KEY: not set"):
        half.store()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"verify": False}, "name its authority in AWS_CA_BUNDLE"),
        ({"use_unsigned_session": True}, "give it credentials"),
        ({"use_ssl": False}, "in endpoint_url, as http://host:port"),
    ],
)
def test_what_a_store_does_not_take(settings: Mapping[str, Any], said: str) -> None:
    """Settings that would make backups less safe are refused when a run asks for the store."""
    with pytest.raises(Refused, match=said):
        S3Environment(s3=S3Resource(**settings)).store()


def test_without_such_a_resource() -> None:
    """Definitions without `s3`, or with one that is another thing, are as before."""
    assert type(environment_with(None)) is BackupEnvironment
    assert type(environment_with({"s3": object()})) is BackupEnvironment
