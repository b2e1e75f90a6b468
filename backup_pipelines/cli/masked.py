"""What the command line says of masked copies."""

from typing import NoReturn

from backup_pipelines.cli.jobs import Ran
from backup_pipelines.cli.output import content, print_json, print_table, tell
from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.wording import clean, count


def refuse_live(system: str) -> NoReturn:
    """Raise Refused: nobody masks the database that is in use."""
    raise Refused(
        f"a masked copy never goes into the live database of {system}: add --into VAR with the "
        "URL of an empty one"
    )


def refuse_filled(into: str) -> NoReturn:
    """Raise Refused for a database that has tables."""
    raise Refused(
        f"the target database is not empty: a masked copy is made in an empty one, and {into} "
        "leads to one with tables"
    )


def print_copy(entry: Manifest, into: str, ran: Ran, as_json: bool) -> None:
    """Print what a masked copy is, and which of its columns are masked."""
    document = ran.result
    if as_json:
        print_json({**document, "run_id": ran.run_id})
        return
    for text in document["skipped"]:
        tell(f"left out: {clean(text)}")
    print_table(
        ("column", "masked", "values"),
        [(one["column"], one["how"], f"{one['values']:,}") for one in document["masked"]],
        numbers=("values",),
        whole=("column",),
    )
    if document["undecided"]:
        kept = count(document["undecided"], "other column")
        print(f"{kept} kept, since the YAML says nothing of them")
    masked = count(len(document["masked"]), "column")
    print(
        f"{entry.id}: {content(entry)} copied into {into}, {masked} masked, the rest equal, "
        f"{ran.seconds:.1f} s"
    )
