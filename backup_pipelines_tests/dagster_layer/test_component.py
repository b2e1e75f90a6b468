"""The YAML of a system: what is accepted, and how a mistake is explained."""

import secrets
import subprocess
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import dagster as dg
import pytest
from dagster.components.scaffold.scaffold import NoParams

import backup_pipelines
from backup_pipelines import PostgresBackup
from backup_pipelines.components.scaffolder import PostgresBackupScaffolder
from backup_pipelines.dagster_layer import partitions
from backup_pipelines.definitions import systems
from backup_pipelines.modules import Entry
from backup_pipelines.system import System
from backup_pipelines.systems import COMPONENT, load_system

GOOD = """\
type: backup_pipelines.PostgresBackup

attributes:
  system: shop
  database_url_env: SHOP_DATABASE_URL
  modules:
    sales:
      tables: [orders, "order_*"]
    stock:
      tables:
        - stock.items
  schedule:
    every: daily
  storage_limit: 1 GB
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dg.Definitions]:
    """Loads a project whose one `defs.yaml` has this text."""
    name = f"project_{secrets.token_hex(4)}"
    monkeypatch.syspath_prepend(tmp_path)

    def load(text: str) -> dg.Definitions:
        folder = tmp_path / name / "defs" / "shop"
        folder.mkdir(parents=True)
        (folder / "defs.yaml").write_text(text)
        return systems(import_module(f"{name}.defs"))

    return load


def explained(error: BaseException) -> str:
    """An error with its causes, as Dagster prints it."""
    return "".join(traceback.format_exception(error))


def test_yaml_becomes_assets(load: Callable[[str], dg.Definitions]) -> None:
    """Loading names the tables of the YAML without a database."""
    keys = {spec.key.to_user_string() for spec in load(GOOD).resolve_all_asset_specs()}
    assert {"shop/public/orders", "shop/by_pattern/sales", "shop/stock/items"} < keys
    assert {"shop/other", "shop/schema", "shop/backups"} < keys


def test_yaml_has_exactly_the_fields_of_the_core() -> None:
    """What the YAML says is the core's System, which the command line reads as well."""
    assert PostgresBackup.get_model_cls() is System


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("storage_limit: 1 GB", "storage_limt: 1 GB", 14, "attributes.storage_limt"),
        ("every: daily", "evry: daily", 13, "attributes.schedule.evry"),
        ("every: daily", "every: hourly", 13, "attributes.schedule.every"),
        ("every: daily", "timezone: Mars/Base", 12, "no IANA time zone"),
        ("1 GB", "plenty", 14, "'plenty' is not a size"),
        ("- stock.items", "- orders", 3, "public.orders is already in module sales"),
        ("SHOP_DATABASE_URL", "postgresql://u:p@h/d", 5, "attributes.database_url_env"),
        ("    sales:", "    Sales!:", 7, "use lower-case letters"),
        ("    stock:", "    other:", 3, "the name other is reserved"),
        ("  system: shop\n", "", 3, "attributes.system"),
        ('[orders, "order_*"]', "orders", 8, "attributes.modules.sales.tables"),
    ],
)
def test_mistake_is_refused_with_file_line_and_field(
    load: Callable[[str], dg.Definitions], old: str, new: str, line: int, said: str
) -> None:
    """A person can go from the message to the line."""
    assert GOOD.count(old) == 1
    with pytest.raises(Exception) as caught:
        load(GOOD.replace(old, new))
    assert f"defs.yaml:{line}" in explained(caught.value)
    assert said in explained(caught.value)


def test_empty_attributes_name_the_missing_fields(load: Callable[[str], dg.Definitions]) -> None:
    """A file that has only its type says what it lacks."""
    with pytest.raises(Exception) as caught:
        load("type: backup_pipelines.PostgresBackup\n")
    assert "shop" in explained(caught.value)
    assert "database_url_env" in explained(caught.value)


def test_core_does_not_import_dagster() -> None:
    """The package and the core stay free of Dagster until the component is asked for."""
    code = (
        "import sys, backup_pipelines, backup_pipelines.catalog, backup_pipelines.modules\n"
        "assert 'dagster' not in sys.modules\n"
        "assert backup_pipelines.PostgresBackup.__name__ == 'PostgresBackup'\n"
        "assert 'dagster' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_loading_definitions_imports_no_driver() -> None:
    """Loading touches no database, and what reads one is imported by the run that does."""
    code = (
        "import sys\n"
        "from backup_pipelines.definitions import defs\n"
        "defs().get_repository_def().get_all_jobs()\n"
        "found = {'pandas', 'pyarrow', 'psycopg', 'boto3', 'adbc_driver_postgresql'}\n"
        "sys.exit(', '.join(found & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize(
    ("folder", "name"), [("My-Shop", "my_shop"), ("2024", "system_2024"), ("größe", "gr_e")]
)
def test_scaffold_writes_a_system_that_loads(tmp_path: Path, folder: str, name: str) -> None:
    """Whatever the folder is called, what `dg scaffold` writes is right as it is."""
    target = tmp_path / folder
    target.mkdir()
    PostgresBackupScaffolder().scaffold(
        dg.ScaffoldRequest(
            type_name=COMPONENT,
            target_path=target,
            scaffold_format="yaml",
            project_root=None,
            params=NoParams(),
            append=False,
        )
    )
    system = load_system(name, tmp_path)
    assert system.database_url_env == f"{name.upper()}_DATABASE_URL"


def test_unknown_attribute_of_the_package() -> None:
    """The lazy package behaves as any other for a wrong name."""
    with pytest.raises(AttributeError, match="nonsense"):
        _ = backup_pipelines.nonsense


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        (Entry("sales", "table", "public.orders"), "crm/public/orders"),
        (Entry("sales", "patterns", "sales"), "crm/by_pattern/sales"),
        (Entry("other", "other", "other"), "crm/other"),
        (Entry("sales", "table", "public.Order Lines"), "crm/public/Order_Lines_d02b9b46"),
        (Entry("sales", "table", "public.größe"), "crm/public/gr_e_d353a267"),
        (Entry("sales", "table", "public.表"), "crm/public/c35f8084"),
    ],
)
def test_entry_key(entry: Entry, key: str) -> None:
    """Names that Dagster would refuse are made safe, and stay apart by a hash."""
    assert partitions.entry_key("crm", entry) == dg.AssetKey(key.split("/"))
