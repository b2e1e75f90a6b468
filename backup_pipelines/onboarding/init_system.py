"""A working `defs.yaml` for a database that nobody has described yet, from its catalog alone."""

import contextlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from backup_pipelines.errors import Failed, Refused
from backup_pipelines.manifest import Excluded
from backup_pipelines.modules import assign
from backup_pipelines.onboarding.candidates import exclusion_candidates
from backup_pipelines.onboarding.cautions import notes_about, warnings_about
from backup_pipelines.onboarding.found import read_database
from backup_pipelines.onboarding.proposals import propose_modules
from backup_pipelines.onboarding.rendering import InitReport, render, shown
from backup_pipelines.onboarding.table_facts import unwritable
from backup_pipelines.system import System


def init_system(system: str, database_url_env: str, url: str, folder: Path) -> InitReport:
    """Write `folder/<system>/defs.yaml` for the database at `url`; nothing is ever overwritten.

    Raises Refused when it exists, for wrong names, and for a database that cannot be backed up.
    """
    _refuse_names(system, database_url_env)
    path = folder / system / "defs.yaml"
    if os.path.lexists(path):
        raise _exists(path)
    found = read_database(url, system)
    if not found.roots:
        raise Refused(
            f"database {found.server.database} has no tables; is {database_url_env} the right one?"
        )
    facts = found.facts()
    odd = unwritable(facts)
    named = [table for table in facts if table not in odd]
    proposed = propose_modules(named, found.references)
    candidates = exclusion_candidates(named, found.references)
    report = InitReport(
        path=path,
        modules={name: tuple(t.written for t in own) for name, own in proposed.items()},
        excluded=tuple(Excluded(name=t.written, reason=why) for t, why in candidates.items()),
        left_out=found.left_out,
        warnings=warnings_about(found),
        notes=(
            *(
                f"{shown(table.qualified)} is backed up in module other: {why}"
                for table, why in odd.items()
            ),
            *notes_about(found),
        ),
    )
    text = render(system, database_url_env, report)
    _check(text, report, [table.qualified for table in found.roots])
    _publish(path, text)
    return report


def _refuse_names(system: str, database_url_env: str) -> None:
    try:
        System(system=system, database_url_env=database_url_env, modules={})
    except ValidationError as error:
        wrong = (f"{found['loc'][0]}: {found['msg']}" for found in error.errors())
        raise Refused("; ".join(wrong)) from error


def _check(text: str, report: InitReport, tables: Sequence[str]) -> None:
    """Raise Failed unless the text reads back as a system that has every table once."""
    try:
        system = System.model_validate(yaml.safe_load(text)["attributes"])
    except (yaml.YAMLError, ValidationError) as error:
        raise Failed(f"what was to become {report.path} does not read back: {error}") from error
    assigned = assign(system, tables)
    modules = {name: tuple(spec.tables) for name, spec in system.modules.items()}
    count = sum(len(found) for found in assigned.tables.values())
    if assigned.missing or count != len(tables) or modules != dict(report.modules):
        raise Failed(f"what was to become {report.path} does not name every table once")


def _publish(path: Path, text: str) -> None:
    """Write aside, then link: the file appears whole, and never in place of another."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            _link(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, FileExistsError) and os.path.lexists(path):
            raise _exists(path) from error
        with contextlib.suppress(OSError):
            path.parent.rmdir()
        raise Failed(f"cannot write {path}: {error.strerror}") from error


def _link(aside: Path, path: Path) -> None:
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:
        # Some file systems have no hard links; there, two at the same moment are not told apart.
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        aside.rename(path)


def _exists(path: Path) -> Refused:
    return Refused(f"{path} exists; remove it first to have it proposed anew")
