"""The verb `serve`: Dagster's UI behind a log-in, and its daemon."""

from ipaddress import ip_address
from pathlib import Path

import click

from backup_pipelines import environment, systems
from backup_pipelines.access import deciding, identity, tokens, users
from backup_pipelines.errors import Refused
from backup_pipelines.wording import clean, count

_SHOWN = 10
_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=3000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--tls-certificate", type=_FILE, metavar="FILE", help="Certificate chain, PEM.")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="Its private key, PEM.")
@click.option("--behind-tls", is_flag=True, help="A proxy in front does TLS; browsers see https.")
@click.option(
    "--no-daemon",
    is_flag=True,
    help="Leave Dagster's daemon, which queues and schedules, to another process.",
)
def serve(
    host: str,
    port: int,
    tls_certificate: Path | None,
    tls_key: Path | None,
    behind_tls: bool,
    no_daemon: bool,
) -> None:
    """Run Dagster's UI behind a log-in; each may do there what the YAML says."""
    _check_ways_in()
    _check_address(host, tls_certificate, tls_key, behind_tls)
    if not systems.load_systems():
        raise Refused(
            "there is no system, so nobody has a role: add one with backup-pipelines init"
        )
    with environment.dagster_environment():
        from backup_pipelines.webserver.people import People
        from backup_pipelines.webserver.running import Listening, run

        listening = Listening(host, port, tls_certificate, tls_key, behind_tls)
        run(People(), listening, with_daemon=not no_daemon, started=_say)


def _check_ways_in() -> None:
    """Raise Refused unless somebody can sign in, and be believed after that."""
    identity.key()
    if tokens.are_taken():
        tokens.check_settings()
    elif not users.names():
        raise Refused(
            "nobody could sign in: add somebody with backup-pipelines users add NAME, or set "
            f"{tokens.BACKUP_JWT_SECRET} or {tokens.BACKUP_JWKS_URL} for tokens of the application"
        )


def _check_address(
    host: str, certificate: Path | None, key: Path | None, is_behind_tls: bool
) -> None:
    """Raise Refused where passwords would go over a network in plain."""
    if (certificate is None) != (key is None):
        raise Refused("--tls-certificate and --tls-key go together: give both")
    for file in (certificate, key):
        if file is not None and not file.is_file():
            raise Refused(f"there is no file {file}")
    if certificate is not None and is_behind_tls:
        raise Refused("give a certificate, or --behind-tls, not both")
    if certificate is None and not is_behind_tls and not _is_loopback(host):
        raise Refused(
            f"{host} is not this machine alone, and passwords would go there in plain: give "
            "--tls-certificate and --tls-key, or --behind-tls where a proxy in front does TLS"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _say(address: str) -> None:
    """All at once, so that whoever waits for the address has the rest too."""
    known = users.names()
    shown = ", ".join(map(clean, known[:_SHOWN]))
    more = f" and {count(len(known) - _SHOWN, 'other')}" if len(known) > _SHOWN else ""
    ways = [f"{shown}{more}, by password"] if known else []
    ways += ["whoever has a token of the application"] if tokens.are_taken() else []
    lines = [f"The UI is at {address}; Ctrl-C ends it.", f"May sign in: {'; '.join(ways)}."]
    found = systems.load_systems()
    enforced = deciding.enforced(found)
    opened = sorted(found.keys() - set(enforced))
    if enforced:
        lines.append(f"Roles are asked for in: {', '.join(enforced)}.")
    if opened:
        open_to_all = f"Open to everybody who signs in: {', '.join(opened)}"
        lines.append(f"{open_to_all} (access: open in the YAML).")
    print("\n".join(lines), flush=True)
