"""The system shop, and what `preflight --json` says of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from backup_pipelines import systems
from backup_pipelines_tests.cli.conftest import Result

BACKED_UP = "SHOP_DATABASE_URL"
OWNED = "SHOP_OWNER_URL"


def define(folder: Path, **attributes: object) -> None:
    """Write the YAML of the system shop."""
    found: dict[str, object] = {
        "system": "shop",
        "database_url_env": BACKED_UP,
        "restore_url_env": OWNED,
        "modules": {"sales": {"tables": ["orders", "order_lines"]}},
    }
    document = {"type": systems.COMPONENT, "attributes": found | attributes}
    (folder / "shop").mkdir(exist_ok=True)
    (folder / "shop" / "defs.yaml").write_text(yaml.safe_dump(document))


def by_check(done: Result) -> Mapping[str, Mapping[str, Any]]:
    """The lines of `--json` by what was looked at; the last of each."""
    return {line["check"]: line for line in done.document["lines"]}


def said(done: Result, status: str) -> list[tuple[str, str]]:
    """What was looked at and found, of the lines with this status."""
    lines = done.document["lines"]
    return [(line["check"], line["found"]) for line in lines if line["status"] == status]
