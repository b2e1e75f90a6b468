"""Fixtures live in plugin modules by what they start (`fix_*.py`)."""

import signal

pytest_plugins = [
    "backup_pipelines_tests.fix_postgres",
    "backup_pipelines_tests.fix_backup",
    "backup_pipelines_tests.fix_restore",
    "backup_pipelines_tests.fix_damage",
    "backup_pipelines_tests.fix_recovery",
    "backup_pipelines_tests.fix_daemon",
    "backup_pipelines_tests.fix_dask",
    "backup_pipelines_tests.fix_receivers",
    "backup_pipelines_tests.fix_s3",
    "backup_pipelines_tests.fix_serve",
    "backup_pipelines_tests.fix_spreadsheet",
    "backup_pipelines_tests.fix_standby",
]


def pytest_configure() -> None:
    """Let the commands that tests start be interrupted.

    A shell that starts the tests in the background has them ignore SIGINT, which is inherited.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
