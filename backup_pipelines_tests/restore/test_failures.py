"""A restore that is stopped at any step leaves the database bit for bit as it was."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Failed
from backup_pipelines_tests.fix_postgres import Server
from backup_pipelines_tests.fix_restore import EVERYTHING, SOAK_SEED, MakeSite, Site
from backup_pipelines_tests.restore import interruptions
from backup_pipelines_tests.restore.interruptions import (
    DAMAGE,
    SCHEMA,
    Interrupt,
    campaign,
    crashed_server,
    cut_network,
    killed_process,
    stop_after_each_step,
    terminate,
    terminated_sessions,
    wait_until_gone,
)


def _terminate(site: Site) -> None:
    """End the restore's server process and wait until it is gone."""
    terminate(site)
    wait_until_gone(site)


@pytest.mark.parametrize("stop", [interruptions.stop, _terminate])
def test_a_stop_at_any_step_changes_nothing(
    any_server: Server, make_site: MakeSite, stop: Callable[[Site], None]
) -> None:
    """An error of ours or the end of the session after each step leaves everything as before."""
    site = make_site(any_server, SCHEMA)
    entry, whole = site.back_up(), site.image()
    site.run(*DAMAGE)
    stop_after_each_step(site, entry, EVERYTHING, stop)
    assert site.image() == whole


def test_a_lost_connection_at_the_commit_is_not_called_rolled_back(
    any_server: Server, make_site: MakeSite
) -> None:
    """Whoever loses the connection while committing is told to look which of the two it was."""
    site = make_site(any_server, SCHEMA)
    entry = site.back_up()
    site.run(*DAMAGE)
    with pytest.raises(Failed, match="either done or not begun: make a plan to see"):
        site.restore(entry, report=lambda m: _terminate(site) if m == "committing" else None)


_SOAK = (pytest.mark.soak, pytest.mark.timeout(3600))


@pytest.mark.parametrize(
    ("interrupt", "moments", "seed"),
    [
        (killed_process, 3, 7),
        (cut_network, 4, 11),
        (terminated_sessions, 4, 13),
        *(
            pytest.param(interrupt, 50, SOAK_SEED, marks=_SOAK)
            for interrupt in (killed_process, cut_network, terminated_sessions)
        ),
    ],
)
def test_an_interruption_leaves_before_or_after(
    any_server: Server, make_site: MakeSite, interrupt: Interrupt, moments: int, seed: int
) -> None:
    """At random moments: the database is as before or as after by digest, never between."""
    counts = campaign(make_site(any_server, SCHEMA), interrupt, moments, seed)
    print(counts)
    assert counts["before"] > 0


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server that nobody else uses, to be crashed."""
    made = EmbeddedServer(tmp_path / "server")
    with made.running():
        yield made
    made.remove()


@pytest.mark.parametrize(("moments", "seed"), [(2, 17), pytest.param(50, SOAK_SEED, marks=_SOAK)])
def test_a_crash_of_the_server_leaves_before_or_after(
    own_server: EmbeddedServer, make_site: MakeSite, moments: int, seed: int
) -> None:
    """kill -9 of the session's server process, upon which the server recovers from its log."""
    site = make_site(own_server, SCHEMA)
    # Embedded servers may lose their last commits in a crash, and then nothing is known of before.
    site.run_as_admin(f"ALTER DATABASE {site.database.name} SET synchronous_commit = on")
    counts = campaign(site, crashed_server, moments, seed)
    print(counts)
    assert counts["before"] > 0


def test_what_a_killed_session_held_is_free_for_the_next(
    any_server: Server, make_site: MakeSite
) -> None:
    """After a session's end the next restore takes the same locks and finishes the work."""
    site = make_site(any_server, SCHEMA)
    entry, whole = site.back_up(), site.image()
    site.run(*DAMAGE)
    with pytest.raises(Failed):
        site.restore(entry, report=lambda m: _terminate(site) if m.startswith("writing") else None)
    with psycopg.connect(site.database.owner_url) as connection:
        connection.execute("SET lock_timeout = '1s'")
        connection.execute("LOCK TABLE p, c, m")
    site.restore(entry)
    assert site.image() == whole
