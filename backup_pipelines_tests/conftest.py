"""Fixtures live in plugin modules by what they start (`fix_*.py`)."""

pytest_plugins = [
    "backup_pipelines_tests.fix_postgres",
    "backup_pipelines_tests.fix_backup",
    "backup_pipelines_tests.fix_restore",
]
