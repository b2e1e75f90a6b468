"""What an import would do or has done, as one JSON document: in the run, and on the terminal."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backup_pipelines.csv.checking import Checked
from backup_pipelines.csv.importing import Validated, plan_import
from backup_pipelines.csv.incoming import Incoming
from backup_pipelines.csv.problems import HEADER
from backup_pipelines.errors import Failed, Refused
from backup_pipelines.progress import Report
from backup_pipelines.restore import LiveRestored
from backup_pipelines.restoring import restore_report
from backup_pipelines.restoring.planned import Plan
from backup_pipelines.wording import count, counts

Document = Mapping[str, Any]

SHOWN = 50
"""Problems that a message names; the file of problems has all of them."""

_NOTHING = {"delete": 0, "changed_columns": {}, "refused": []}


def planned(
    validated: Validated, url: str, problems_to: str, started: float, report: Report
) -> Document:
    """Plan an import, write its file of problems, beside the files if it is not said where.

    `started` is when this began, by the monotonic clock. Raises what `plan_import` raises, Refused
    when another file is in the problems' place, Failed when they cannot be written.
    """
    plan = plan_import(validated, url, report)
    written = _write_problems(validated, Path(problems_to) if problems_to else None)
    return planned_document(validated, plan, written, time.monotonic() - started)


def planned_document(
    validated: Validated, plan: Plan | None, problems_file: Path | None, seconds: float
) -> Document:
    """What an import would do: of files with problems what it would, were it not for them."""
    if plan is None:
        planned: Document = {
            "mode": validated.asked.mode,
            "hash": None,
            "estimated_seconds": 0.0,
            "refused": [],
            "closure": [],
            "safety_backup": None,
            "verified": False,
        }
        tables = [_table(result) for result in validated.checked]
    else:
        planned = dict(restore_report.plan_document(plan, seconds, None))
        rows = {one.table.qualified: one.table.rows for one in validated.incoming}
        tables = [_written(table, rows[table["table"]]) for table in planned["tables"]]
    return {
        **{k: v for k, v in planned.items() if k not in ("backup", "selection", "into")},
        "source": str(validated.asked.source),
        "match": {table: list(columns) for table, columns in validated.asked.keys.items()},
        "files": [_file(one) for one in validated.incoming],
        "tables": tables,
        "warnings": list(validated.warnings),
        "problems": validated.problems.count,
        "problems_by_kind": dict(validated.problems.by_kind()),
        "problems_file": str(problems_file) if problems_file else None,
        "first_problems": [asdict(one) for one in validated.problems.in_order(SHOWN)],
        "seconds": round(seconds, 3),
    }


def imported_document(validated: Validated, done: LiveRestored, seconds: float) -> Document:
    """What an import did; every row was proved to be there before the commit."""
    return {
        **planned_document(validated, done.plan, None, seconds),
        "safety_backup": done.safety.id if done.safety is not None else None,
        "verified": True,
        "tables_verified": done.verified,
    }


def in_words(document: Document) -> str:
    """The rows, and the problems if there are any."""
    if not document["problems"]:
        return restore_report.in_words(document)
    listed = counts(document["problems_by_kind"])
    return f"{count(document['problems'], 'problem')} in {_files(document)}: {listed}"


def stands_against(document: Document) -> bool:
    """Whether the import would be refused, as it was planned."""
    return bool(document["problems"] or document["refused"])


def refusal(document: Document) -> str:
    """Why files with problems are not imported: the first problems, and where all of them are."""
    lines = [f"- {problem_line(one)}" for one in document["first_problems"]]
    left = document["problems"] - len(lines)
    if left:
        lines.append(f"- and {left:,} more")
    where = document["problems_file"]
    told = f"; all of them are in {where}" if where else ""
    return f"{in_words(document)}; nothing was changed{told}\n" + "\n".join(lines)


def problem_line(problem: Mapping[str, Any]) -> str:
    """One problem on one line: `contacts.csv:12 email "x": reason`."""
    value = "" if problem["value"] is None else f' "{_cut(problem["value"])}"'
    column = f" {problem['column']}" if problem["column"] else ""
    return f"{problem['file']}:{problem['line']}{column}{value}: {problem['reason']}"


def _problems_path(source: Path, wanted: Path | None) -> Path:
    source = source.absolute()
    name = source.name if source.is_dir() else source.stem
    return wanted.absolute() if wanted else source.parent / f"{name}-problems.csv"


def _write_problems(validated: Validated, wanted: Path | None) -> Path | None:
    """Where the file of problems is, if there are any; one of an earlier look is replaced."""
    if not validated.problems.count:
        return None
    path = _problems_path(validated.asked.source, wanted)
    try:
        if path.exists() and not _is_ours(path):
            raise Refused(f"{path} is no file of problems: name another one")
        validated.problems.write(path)
    except OSError as error:
        raise Failed(
            f"the {validated.problems.count:,} problems cannot be written to {path} "
            f"({error.strerror}): name another file"
        ) from error
    return path


def _is_ours(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.readline().rstrip(b"\r\n") == ",".join(HEADER).encode()


def _written(table: Mapping[str, Any], rows: int) -> Mapping[str, Any]:
    """Of the rows of the file; to the restore engine the table's other rows are unchanged too."""
    unchanged = rows - table["insert"] - table["update"]
    return {**table, "unchanged": unchanged, "rejected": 0}


def _table(result: Checked) -> Mapping[str, Any]:
    table = result.incoming.table
    return {
        "table": table.qualified,
        "module": table.module,
        "insert": result.insert,
        "update": result.update,
        "unchanged": result.unchanged,
        "rejected": result.rejected,
        "warnings": list(result.warnings),
        **_NOTHING,
    }


def _file(one: Incoming) -> Mapping[str, Any]:
    return {
        "file": one.file,
        "table": one.table.qualified,
        "rows": one.table.rows,
        "form": one.form.in_words,
        "encoding": one.form.encoding,
        "delimiter": one.form.delimiter,
        "columns": list(one.columns),
        "ignored": list(one.ignored),
    }


def _files(document: Document) -> str:
    files: Sequence[object] = document["files"]
    return count(len(files), "file")


def _cut(value: str) -> str:
    shown = value.replace("\n", "\\n").replace("\r", "\\r")
    return shown if len(shown) <= 60 else shown[:57] + "..."
