"""`undo`: the last restore taken back, and back again."""

from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, Live


def test_undo_and_undo_of_the_undo(cli: Cli, live: Live) -> None:
    good = live.content()
    live.run("DELETE FROM task_comments WHERE id <= 3", "UPDATE tasks SET title = 'x' WHERE id = 1")
    bad = live.content()
    restored = cli("restore", "crm", "latest", "--confirm", "CONFIRM", "--json")
    assert restored.code == 0, restored.err
    assert live.content() == good
    undone = cli("undo", "crm", "--confirm", "CONFIRM", "--json")
    assert undone.code == 0, undone.err
    assert live.content() == bad
    assert undone.document["backup"] == restored.document["safety_backup"]
    assert undone.document["verified"] is True
    redone = cli("undo", "crm", "--confirm", "CONFIRM")
    assert redone.code == 0, redone.err
    assert live.content() == good
    assert (
        redone.out.splitlines()[-1] == "Take it back: backup-pipelines undo crm --confirm CONFIRM"
    )


def test_without_the_word_nothing_starts(cli: Cli, own_store: Store) -> None:
    for confirm in ((), ("--confirm", "yes"), ("--confirm", "confirm")):
        result = cli("undo", "crm", *confirm)
        assert (result.code, result.out) == (2, "")
        assert result.err.count("\n") == 1
        assert "--confirm CONFIRM" in result.err


def test_an_unknown_system_has_nothing_to_undo(cli: Cli) -> None:
    result = cli("undo", "nothing", "--confirm", "CONFIRM")
    assert (result.code, result.out) == (2, "")
