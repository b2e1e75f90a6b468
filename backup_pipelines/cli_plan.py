"""How the command line shows a plan, and the same table of what a restore has done."""

from backup_pipelines import restore_report
from backup_pipelines.cli_output import clean, count, print_facts, print_table
from backup_pipelines.restore_report import COUNTS, Document


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
        if table["insert"] or table["update"] or table["delete"]
    ]
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


def _columns(table: Document) -> str:
    return ", ".join(f"{name} ({rows:,})" for name, rows in table["changed_columns"].items())


def _about(document: Document) -> str:
    seconds = document.get("estimated_seconds")
    return f"about {max(1, round(seconds))} s" if seconds else ""
