"""Where everything is: environment variables, and the embedded demo for those that are not set.

Secrets live in environment variables only.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from backup_pipelines.errors import Refused
from backup_pipelines.project import project
from backup_pipelines.storage.store import Store
from backup_pipelines.storage.variables import USUAL, Variables
from backup_pipelines.system import System

StoreName = Literal["first", "second"]
"""Which of a system's stores: the one that backups are taken into, or that of their copies."""

DAGSTER_HOME = "DAGSTER_HOME"
DAGSTER_POSTGRES_URL = "DAGSTER_POSTGRES_URL"
BACKUP_STORE_URL = "BACKUP_STORE_URL"

_INSTANCE = "dagster.yaml"

# dagster-postgres needs psycopg 2; SQLAlchemy 2.1 takes psycopg 3 for a plain postgresql:// URL,
# and dagster-postgres then dies on NOTIFY.
_SQLALCHEMY_SCHEME = "postgresql+psycopg2://"


def home() -> Path:
    """The folder of `dagster.yaml`: DAGSTER_HOME, else the nearest upwards, else the project.

    Where the package is installed as a wheel there is no project: then where one stands.
    """
    named = os.environ.get(DAGSTER_HOME)
    if named:
        return Path(named).resolve()
    here, checkout = Path.cwd(), Path(__file__).resolve().parent.parent
    for folder in (here, *here.parents):
        if (folder / _INSTANCE).is_file() and (folder / "workspace.yaml").is_file():
            return folder
    return checkout if (checkout / _INSTANCE).is_file() else here


def defs_folder() -> Path:
    """The folder with one `defs.yaml` per system: this project's, or that of BACKUP_PROJECT."""
    return project().defs


def store_url() -> str:
    """BACKUP_STORE_URL, or the demo's folder under home."""
    return os.environ.get(BACKUP_STORE_URL) or (home() / ".demo" / "store").as_uri()


def store() -> Store:
    """The object store that backups go to."""
    return Store(store_url())


def second_url(system: System) -> str:
    """The URL of the system's second store; raises Refused where there is none to speak of."""
    spec = system.second_store
    if spec is None:
        raise Refused(
            f"{system.system} has no second store: name one under second_store in "
            f"defs/{system.system}/defs.yaml"
        )
    url = os.environ.get(spec.url_env)
    if not url:
        raise Refused(
            f"{spec.url_env} is not set: set it to the URL of the second store of {system.system}"
        )
    return url


def second_store(system: System, usual: Variables = USUAL) -> Store:
    """The store that backups are copied to; raises Refused where it is none, or the first one.

    The first store's `usual` variables are those of the environment unless others are given.
    """
    url, spec = second_url(system), system.second_store
    variables = usual
    if spec is not None:
        shared = not spec.aws_prefix
        variables = (
            replace(usual, url_env=spec.url_env)
            if shared
            else Variables(spec.aws_prefix, spec.url_env)
        )
    # The first may be lost: it is not opened for this.
    if _place(url, variables) == _place(store_url(), usual):
        raise Refused(
            f"{variables.url_env} names the same place as {BACKUP_STORE_URL}: a copy there would "
            "be none"
        )
    return Store(url, variables)


def _place(url: str, variables: Variables) -> tuple[str, str, str]:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return "", "", str(Path(unquote(parts.path)).resolve())
    endpoint = variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL")
    return endpoint.rstrip("/"), parts.netloc, parts.path.strip("/")


def store_of(system: System, which: StoreName) -> Store:
    """One of a system's stores; raises Refused where there is no second one."""
    return store() if which == "first" else second_store(system)


@contextmanager
def source_url(system: System) -> Generator[str]:
    """The URL to back the system up from: its variable's, or the demo's read-only role."""
    url = os.environ.get(system.database_url_env)
    if url:
        yield url
        return
    from backup_pipelines.demo.databases import Demo

    demo = Demo(home())
    if not demo.has(system.system):
        raise Refused(
            f"{system.database_url_env} is not set: set it to the URL of {system.system}'s database"
        )
    with demo.server.running():
        demo.ensure_system(system.system)
        yield demo.reader_url(system.system)


@contextmanager
def restore_url(system: System) -> Generator[str]:
    """The URL that restores write by: its variable's, or the demo's owner of the tables."""
    named = system.restore_url_env or system.database_url_env
    url = os.environ.get(named)
    if url:
        yield url
        return
    from backup_pipelines.demo.databases import Demo

    demo = Demo(home())
    # A restore must never go to the demo while backups come from a real database.
    if os.environ.get(system.database_url_env) or not demo.has(system.system):
        raise Refused(
            f"{named} is not set: set it to the URL of {system.system}'s database as the role "
            "that owns its tables"
        )
    with demo.server.running():
        demo.ensure_system(system.system)
        yield demo.owner_url(system.system)


@contextmanager
def drill_server_url(system: System) -> Generator[str]:
    """The URL of the server for drills: the YAML's, or the embedded one's superuser."""
    variable = system.drill.server_url_env
    if variable:
        yield url_of(variable)
        return
    from backup_pipelines.demo.databases import Demo

    demo = Demo(home())
    with demo.server.running():
        yield demo.admin_url()


def url_of(variable: str) -> str:
    """The database URL in an environment variable; raises Refused when it is not set."""
    url = os.environ.get(variable)
    if not url:
        raise Refused(f"{variable} is not set: set it to the URL of the database")
    return url


@contextmanager
def dagster_environment() -> Generator[None]:
    """DAGSTER_HOME and DAGSTER_POSTGRES_URL set for the time of the block, and put back after it.

    Where no database for Dagster is named, the embedded one's is made and kept up, if the instance
    has its database by that variable at all. Raises Refused where there is no instance.
    """
    before = {name: os.environ.get(name) for name in (DAGSTER_HOME, DAGSTER_POSTGRES_URL)}
    file = home() / _INSTANCE
    if not file.is_file():
        raise Refused(
            f"there is no {file}: set {DAGSTER_HOME} to the folder of Dagster's instance, "
            f"the one that has its {_INSTANCE}"
        )
    os.environ[DAGSTER_HOME] = str(home())
    try:
        named = before[DAGSTER_POSTGRES_URL]
        if named:
            os.environ[DAGSTER_POSTGRES_URL] = for_dagster(named)
            yield
            return
        if DAGSTER_POSTGRES_URL not in file.read_text(encoding="utf-8"):
            yield
            return
        from backup_pipelines.demo.databases import Demo

        demo = Demo(home())
        with demo.server.running():
            demo.ensure_dagster()
            os.environ[DAGSTER_POSTGRES_URL] = for_dagster(demo.dagster_url())
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def for_dagster(url: str) -> str:
    """A database URL as dagster-postgres needs it."""
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return _SQLALCHEMY_SCHEME + url.removeprefix(scheme)
    return url
