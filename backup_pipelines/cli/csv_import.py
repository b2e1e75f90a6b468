"""The verbs `csv plan`, which only reads, and `csv import`, which runs its job."""

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from backup_pipelines import environment, systems
from backup_pipelines.cli import audit as cli_audit
from backup_pipelines.cli import who
from backup_pipelines.cli.jobs import Ran, by_option, json_option, loadable, run_job, with_options
from backup_pipelines.cli.output import print_facts, print_json, print_table, progress, tell
from backup_pipelines.cli.restore import (
    confirm_option,
    reason_option,
    refuse_skipping_without_reason,
    require_confirm,
)
from backup_pipelines.csv.null import NULL
from backup_pipelines.errors import Refused
from backup_pipelines.progress import sparse
from backup_pipelines.wording import clean, count

if TYPE_CHECKING:
    from backup_pipelines.csv.import_report import Document

_COUNTS = ("insert", "update", "unchanged", "rejected")

_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}

_what = with_options(
    click.option("--from", "source", metavar="PATH", required=True, help="Folder, zip or file."),
    click.option("--module", "modules", metavar="M", multiple=True, help="Only this module."),
    click.option("--table", "tables", metavar="T", multiple=True, help="Only this table."),
    click.option(
        "--mode",
        type=click.Choice(["insert", "upsert"]),
        default="insert",
        help="Refuse rows that are there already, or update them.",
    ),
    click.option(
        "--match", metavar="T=C,C", multiple=True, help="Match rows of T by these unique columns."
    ),
    click.option("--map", "rename", metavar="NAME=C", multiple=True, help="NAME in a header is C."),
    click.option("--ignore", metavar="NAME", multiple=True, help="Leave this column out."),
    click.option(
        "--accept", metavar="T.C", multiple=True, help="These values are no spreadsheet's."
    ),
    click.option("--encoding", default="", help="If it is not found out rightly."),
    click.option(
        "--delimiter", type=click.Choice(list(_DELIMITERS)), help="If it is not found out rightly."
    ),
    click.option(
        "--null-token", default=NULL, metavar="TEXT", help=r"What is NULL, bare; usually \N."
    ),
    click.option("--problems", metavar="FILE", default="", help="Write what is wrong here."),
)


@dataclass(frozen=True)
class _Asked:
    """What is to be imported, and how it is read."""

    source: str
    modules: tuple[str, ...]
    tables: tuple[str, ...]
    mode: Literal["insert", "upsert"]
    match: tuple[str, ...]
    rename: tuple[str, ...]
    ignore: tuple[str, ...]
    accept: tuple[str, ...]
    encoding: str
    delimiter: str | None
    null_token: str
    problems: str

    def config(self) -> Mapping[str, object]:
        """The fields of the jobs that ask for this."""
        return {
            # The run may execute elsewhere than here.
            "source": str(Path(self.source).absolute()),
            "modules": list(self.modules),
            "tables": list(self.tables),
            "mode": self.mode,
            "match": _pairs("--match", self.match),
            "rename": _pairs("--map", self.rename),
            "ignore": list(self.ignore),
            "accept": list(self.accept),
            "encoding": self.encoding,
            "delimiter": _DELIMITERS[self.delimiter] if self.delimiter else "",
            "null_token": self.null_token,
            "problems_to": str(Path(self.problems).absolute()) if self.problems else "",
        }

    def arguments(self) -> list[str]:
        """The options that ask for this."""
        made = ["--from", self.source]
        for option, values in (
            ("--module", self.modules),
            ("--table", self.tables),
            ("--match", self.match),
            ("--map", self.rename),
            ("--ignore", self.ignore),
            ("--accept", self.accept),
        ):
            made += [word for value in values for word in (option, value)]
        made += ["--mode", self.mode] if self.mode != "insert" else []
        made += ["--encoding", self.encoding] if self.encoding else []
        made += ["--delimiter", self.delimiter] if self.delimiter else []
        made += ["--null-token", self.null_token] if self.null_token != NULL else []
        return made + (["--problems", self.problems] if self.problems else [])


@click.command("plan")
@click.argument("system")
@_what
@json_option
def plan(system: str, as_json: bool, **what: Any) -> None:
    """Validate every row of CSV files for SYSTEM, and show what their import would write.

    Changes nothing. Exits with 2 when something is wrong with the files.
    """
    from backup_pipelines.csv import import_report, importing
    from backup_pipelines.csv.incoming import asked_import

    asked = _Asked(**what)
    loaded = systems.load_system(system)
    with cli_audit.refusals(system, "csv_plan"):
        who.require(system, "csv_plan", None)
        request, started = asked_import(asked.config()), time.monotonic()
        with (
            progress(f"{system}: validating") as step,
            environment.restore_url(loaded) as url,
            importing.validated(loaded, url, request, sparse(step)) as found,
        ):
            document = import_report.planned(found, url, asked.problems, started, sparse(step))
    told = import_report.in_words(document)
    cli_audit.note(
        system,
        "csv_plan",
        "refused" if import_report.stands_against(document) else "done",
        message=told,
        plan_hash=document["hash"] or "",
    )
    if as_json:
        print_json(document)
    else:
        _print_plan(system, asked, document)
    if import_report.stands_against(document):
        raise SystemExit(Refused.exit_code)


@click.command("import")
@click.argument("system")
@_what
@confirm_option
@click.option("--plan", "plan_hash", metavar="HASH", default="", help="Refuse anything else.")
@click.option("--skip-safety", is_flag=True, help="Take no safety backup; needs --reason.")
@reason_option
@by_option
@json_option
def import_(
    system: str,
    confirm: str | None,
    plan_hash: str,
    skip_safety: bool,
    reason: str,
    operator: str | None,
    as_json: bool,
    **what: Any,
) -> None:
    """Write the rows of CSV files into SYSTEM: validated whole, all or nothing, proved.

    A safety backup is taken first, so that `undo` takes the import back.
    """
    asked = _Asked(**what)
    with cli_audit.refusals(system, "csv_import", operator=operator, reason=reason):
        require_confirm(confirm, f"rows of the live database of {system} will be written")
        refuse_skipping_without_reason(reason, skip_safety=skip_safety)
        loadable(system)
        config = {
            **asked.config(),
            "plan": plan_hash,
            "skip_safety": skip_safety,
            "reason": reason,
            "confirm": confirm,
        }
    _print_done(
        system,
        run_job(system, "csv_import", config, f"importing {asked.source}", operator),
        as_json,
    )


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        # A column's name can have an equals sign, a header's more likely.
        left, sign, right = one.rpartition("=")
        if not sign or not left or not right:
            raise Refused(f"{option} takes NAME=COLUMN, not {one}")
        if found.setdefault(left, right) != right:
            raise Refused(f"{option} says two things of {left}: {found[left]} and {right}")
    return found


def _print_plan(system: str, asked: _Asked, document: "Document") -> None:
    from backup_pipelines.csv import import_report

    _print_files(document)
    _print_tables(document)
    for warning in document["warnings"]:
        print(f"warning: {clean(warning)}")
    for problem in document["refused"]:
        print(f"refused: {clean(problem)}")
    for problem in document["first_problems"]:
        print(clean(import_report.problem_line(problem)))
    left = document["problems"] - len(document["first_problems"])
    if left > 0:
        print(f"and {left:,} more")
    print()
    print_facts(
        [
            ("rows", import_report.in_words(document)),
            ("mode", document["mode"]),
            ("hash", document["hash"]),
            ("problems in", document["problems_file"]),
        ]
    )
    if import_report.stands_against(document):
        print("This import would be refused.")
    elif document["hash"]:
        words = ["csv", "import", system, *asked.arguments(), "--plan", document["hash"]]
        print(f"To do it: backup-pipelines {shlex.join(words)} --confirm CONFIRM")


def _print_files(document: "Document") -> None:
    print_table(
        ("file", "table", "rows", "form", "left out"),
        [
            (
                one["file"],
                one["table"],
                f"{one['rows']:,}",
                one["form"],
                ", ".join(one["ignored"]),
            )
            for one in document["files"]
        ],
        numbers=("rows",),
        whole=("file",),
    )


def _print_tables(document: "Document") -> None:
    if document["tables"]:
        print_table(
            ("table", *_COUNTS),
            [(t["table"], *(f"{t[n]:,}" for n in _COUNTS)) for t in document["tables"]],
            numbers=_COUNTS,
        )


def _print_done(system: str, ran: Ran, as_json: bool) -> None:
    from backup_pipelines.cli import plan as cli_plan
    from backup_pipelines.restoring import restore_report

    document = ran.result
    if as_json:
        print_json({**document, "run_id": ran.run_id})
        return
    _print_files(document)
    _print_tables(document)
    for warning in document["warnings"]:
        tell(f"warning: {clean(warning)}")
    proved = count(document["tables_verified"], "table")
    print(f"{restore_report.in_words(document)}; {proved} proved, {ran.seconds:.1f} s")
    cli_plan.print_undo(system, document)
