"""Fixtures live in plugin modules by what they start (`fix_*.py`)."""

pytest_plugins = [
    "backup_pipelines_tests.fix_postgres",
    "backup_pipelines_tests.fix_backup",
    "backup_pipelines_tests.fix_restore",
    "backup_pipelines_tests.fix_damage",
    "backup_pipelines_tests.fix_recovery",
    "backup_pipelines_tests.fix_daemon",
    "backup_pipelines_tests.fix_receivers",
    "backup_pipelines_tests.fix_s3",
]
