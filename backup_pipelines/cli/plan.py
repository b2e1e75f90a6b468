"""How the command line shows a plan, and what a restore has done."""

from backup_pipelines.cli.jobs import Ran
from backup_pipelines.cli.output import (
    content,
    print_facts,
    print_json,
    print_table,
    tell,
)
from backup_pipelines.manifest import Manifest
from backup_pipelines.restoring import restore_report
from backup_pipelines.restoring.restore_report import COUNTS, Document
from backup_pipelines.wording import clean, count, counts


def print_plan(document: Document) -> None:
    """Print what a restore would do, what to know, and what stands against it."""
    print_tables(document)
    for warning in restore_report.warnings(document):
        print(f"warning: {clean(warning)}")
    for problem in document["refused"]:
        print(f"refused: {clean(problem)}")
    print()
    closure = ", ".join(document["closure"])
    print_facts(
        [
            ("backup", document["backup"]),
            ("selection", document["selection"]),
            ("mode", document["mode"]),
            ("rows", restore_report.in_words(document)),
            ("time", _about(document)),
            ("add to it", closure),
            ("hash", document["hash"]),
        ]
    )
    if document["refused"]:
        print("This restore would be refused.")
    elif not restore_report.has_changes(document):
        print("There is nothing to restore: the selected tables are as in the backup.")


def print_tables(document: Document) -> None:
    """Print the tables that change, and how many do not."""
    shown = [
        table
        for table in document["tables"]
        if table["insert"] or table["update"] or table["delete"] or table.get("creates")
    ]
    for line in restore_report.creations(document):
        print(clean(line))
    if shown:
        print_table(
            ("table", *COUNTS, "changed columns"),
            [
                (table["table"], *(f"{table[n]:,}" for n in COUNTS), _columns(table))
                for table in shown
            ],
            numbers=COUNTS,
        )
    others = len(document["tables"]) - len(shown)
    if others and shown:
        print(f"{count(others, 'other table')} unchanged")


def print_whole(entry: Manifest, into: str, ran: Ran, as_json: bool) -> None:
    """Print what a restore of everything into an empty database did."""
    if as_json:
        print_json({**ran.result, "run_id": ran.run_id})
        return
    for text in ran.result["skipped"]:
        tell(f"left out: {clean(text)}")
    print(f"{entry.id}: {content(entry)} restored into {into} and equal, {ran.seconds:.1f} s")


def print_done(system: str, ran: Ran, as_json: bool) -> None:
    """Print what a restore or an undo did, and how to take it back."""
    document = ran.result
    if as_json:
        print_json({**document, "run_id": ran.run_id})
        return
    print_tables(document)
    for warning in restore_report.warnings(document):
        tell(f"warning: {clean(warning)}")
    proved = count(document["tables_verified"], "table")
    print(
        f"{document['backup']}: {restore_report.in_words(document)}; {proved} proved equal, "
        f"{ran.seconds:.1f} s"
    )
    print_undo(system, document)


def print_undo(system: str, document: Document) -> None:
    """Print how what a document tells of is taken back."""
    if not restore_report.has_changes(document):
        # An undo would take back what was done before this.
        return
    if document["safety_backup"] is None:
        print("No safety backup was taken: this cannot be undone.")
        return
    print(f"As it was before: {document['safety_backup']}")
    print(f"Take it back: backup-pipelines undo {system} --confirm CONFIRM")


def _columns(table: Document) -> str:
    return counts(table["changed_columns"])


def _about(document: Document) -> str:
    seconds = document.get("estimated_seconds")
    return f"about {max(1, round(seconds))} s" if seconds else ""
