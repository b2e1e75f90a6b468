"""The text of a `defs.yaml`: what is proposed, and what its reader should know as comments."""

import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from backup_pipelines.manifest import Excluded

STORAGE_LIMIT = "10 GB"

_COMMENT_WIDTH = 96

# PyYAML knows words such as `on` and `null`; `1e3` and `y` are text to it, but not to all readers.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]+")


@dataclass(frozen=True)
class InitReport:
    """What was written, and what its reader should know."""

    path: Path
    modules: Mapping[str, tuple[str, ...]]
    excluded: tuple[Excluded, ...]  # candidates only: nothing is excluded before somebody says so
    left_out: tuple[Excluded, ...]
    warnings: tuple[str, ...]  # to be dealt with
    notes: tuple[str, ...] = ()  # to be known

    def document(self) -> dict[str, object]:
        """What `init --json` prints, beside the variables."""
        return {
            "system": self.path.parent.name,
            "file": str(self.path.absolute()),
            "modules": {module: list(tables) for module, tables in self.modules.items()},
            "not_backed_up": [{"table": t.name, "reason": t.reason} for t in self.left_out],
            "could_be_excluded": [{"table": t.name, "reason": t.reason} for t in self.excluded],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def render(system: str, database_url_env: str, report: InitReport) -> str:
    """The text of the YAML, with what its reader should know as comments."""
    candidates = {entry.name for entry in report.excluded}
    lines = [
        *_header(system, database_url_env, report),
        "",
        "type: backup_pipelines.PostgresBackup",
        "",
        "attributes:",
        f"  system: {scalar(system)}",
        f"  database_url_env: {scalar(database_url_env)}",
        "  # Restores write, as the role that owns the tables. Without this line: as backups read.",
        f"  restore_url_env: {scalar(owner_variable(database_url_env))}",
        "  modules:" if report.modules else "  modules: {}",
    ]
    for module, tables in report.modules.items():
        lines += [f"    {scalar(module)}:", "      tables:"]
        for table in tables:
            note = "  # left out? see excluded" if table in candidates else ""
            lines.append(f"        - {scalar(table)}{note}")
    lines += _excluded(report.excluded)
    lines += [
        "  schedule:",
        f"    every: {scalar('every_2_days')}",
        f"    at: {scalar('02:00')}",
        f"    timezone: {scalar('UTC')}",
        "  retention:",
        "    keep_last: 30",
        f"  storage_limit: {scalar(STORAGE_LIMIT)}",
    ]
    return "\n".join(lines) + "\n"


def _header(system: str, database_url_env: str, report: InitReport) -> list[str]:
    return [
        *_comment(
            f"Backups of {system}, the database that {database_url_env} names. Proposed by "
            "`backup-pipelines init` from its schemas, table names and foreign keys: change what "
            "you like. A table that no module names is backed up all the same, in module other. "
            "Next:"
        ),
        f"#   backup-pipelines preflight {system}",
        f"#   backup-pipelines backup {system}",
        f"#   backup-pipelines drill {system}",
        *_list("To look at:", report.warnings),
        *_list("Good to know:", report.notes),
        *_list(
            "Left out, as in every logical backup:",
            [f"{shown(entry.name)}: {shown(entry.reason)}" for entry in report.left_out],
        ),
    ]


def _list(heading: str, items: Sequence[str]) -> list[str]:
    lines = [line for item in items for line in _item(item)]
    return ["#", f"# {heading}", *lines] if lines else []


def _excluded(candidates: Sequence[Excluded]) -> list[str]:
    if not candidates:
        return ["  excluded: []"]
    lines = [
        '  # Nothing is left out yet. To leave out rows that nobody wants back, remove "# " from',
        "  # these lines, and the table from its module above (or the module, if it has no other).",
        "  # excluded:",
    ]
    for entry in candidates:
        lines += [
            f"  #   - table: {scalar(entry.name)}",
            f"  #     reason: {scalar(entry.reason)}",
        ]
    return lines


def owner_variable(database_url_env: str) -> str:
    """The variable with the URL of the tables' owner: SHOP_OWNER_DATABASE_URL and the like."""
    stem, ending = database_url_env, ""
    for known in ("DATABASE_URL", "URL"):
        if f"_{database_url_env}".endswith(f"_{known}"):
            stem, ending = database_url_env.removesuffix(known).rstrip("_"), known
            break
    return "_".join(part for part in (stem, "OWNER", ending) if part)


def scalar(text: str) -> str:
    """The text as YAML: quoted whenever any reader might take it for something else than text."""
    emitted = yaml.safe_dump(
        [text],
        default_style=None if _PLAIN.fullmatch(text) else '"',
        default_flow_style=True,
        allow_unicode=True,
        width=sys.maxsize,
    )
    return str(emitted).strip().removeprefix("[").removesuffix("]")


def shown(text: str) -> str:
    """The text with everything escaped that could end a comment or move a terminal's cursor."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in _wrapped(text)]


def _item(text: str) -> list[str]:
    """A point of a list; what follows its first line is SQL, which must stay on one line."""
    first, *statements = (shown(line) for line in text.split("\n"))
    start, *more = _wrapped(first) or [""]
    return [
        f"# - {start}",
        *(f"#   {line}" for line in more),
        *(f"#     {statement}" for statement in statements),
    ]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _COMMENT_WIDTH, break_long_words=False, break_on_hyphens=False)
