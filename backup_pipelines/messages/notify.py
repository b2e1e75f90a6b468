"""Tells people what happened, by any channel of Apprise, and an outside watchdog that we live.

Neither ever fails what it tells of: problems are returned as sentences without secrets.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from backup_pipelines.messages.channels import cause, delivery, service, silence
from backup_pipelines.messages.scrub import scrub
from backup_pipelines.settings import Severity, Topic
from backup_pipelines.system import System

DAGSTER_URL = "DAGSTER_URL"

DEADLINE_SECONDS = 15.0
"""How long all channels together, or the watchdog, may take: nobody waits for them."""

# Below the deadline, so that the system itself says what went wrong.
_READ_SECONDS = 10.0

_SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")

# Text messages and chats cut or refuse what is longer, and the interesting part is first.
_TITLE_LENGTH = 120
_FACT_LENGTH = 300
_FACTS = 30
_ADVICE_LENGTH = 1000
_REASON_LENGTH = 200
_BEAT_LENGTH = 2000

_UNKNOWN = "Apprise does not understand it; https://appriseit.com shows the URLs of each service"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://")


@dataclass(frozen=True)
class Event:
    """Something that people want to be told of; `backup failed` is such a title."""

    system: str
    topic: Topic
    severity: Severity
    title: str
    facts: Mapping[str, str | int | float]
    advice: str = ""
    run_id: str = ""


def send(system: System, event: Event, deadline_seconds: float = DEADLINE_SECONDS) -> list[str]:
    """Tell every channel that wants this event; return one sentence for each that failed.

    It never raises, and gives up what has not answered after the deadline.
    """
    channels = _wanted(system, event)
    if not channels:
        return []
    try:
        return _send(channels, event, deadline_seconds)
    except Exception as error:
        hidden = _parts(channel.url for channel in channels)
        return [f"notifications were not sent: {_safe(cause(error), hidden)}"]


def beat(
    system: System, healthy: bool, message: str, deadline_seconds: float = DEADLINE_SECONDS
) -> str:
    """Post the message to the watchdog's URL, with /fail behind it when not healthy.

    Returns what went wrong, or nothing. It never raises.
    """
    variable = system.heartbeat_url_env
    url = os.environ.get(variable, "").strip() if variable else ""
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return f"{variable} is not a URL of a watchdog: it begins with https:// or http://"
        path = parts.path.rstrip("/") + "/fail"
        asked = url if healthy else urlunsplit(parts._replace(path=path))
        text = _cut(scrub(message, [url]), _BEAT_LENGTH)
        attempt = _Attempt(lambda: _post(asked, text))
        attempt.start()
        problem = attempt.outcome(deadline_seconds, deadline_seconds)
        return f"{variable}: {_safe(problem, _parts([url]))}" if problem else ""
    except Exception as error:
        return f"{variable}: {_safe(cause(error), _parts([url]))}"


def run_url(run_id: str) -> str:
    """The page of a run, where DAGSTER_URL says that the UI is; else nothing."""
    url = os.environ.get(DAGSTER_URL, "").strip().rstrip("/")
    return f"{url}/runs/{run_id}" if url and run_id else ""


@dataclass
class _Channel:
    """One URL: the variable it is from, and its place there."""

    variable: str
    position: int
    url: str = field(repr=False)

    @property
    def name(self) -> str:
        scheme = _SCHEME.match(self.url)
        kind = f"{scheme[1].lower()}://" if scheme else "without a scheme"
        return f"{self.variable}, URL {self.position} ({kind})"


def _wanted(system: System, event: Event) -> list[_Channel]:
    """The channels whose filters let the event through, each URL once."""
    found: dict[str, _Channel] = {}
    for spec in system.notifications:
        severe = _SEVERITIES.index(event.severity) >= _SEVERITIES.index(spec.severity)
        if not severe or (spec.events and event.topic not in spec.events) or not spec.urls_env:
            continue
        urls = os.environ.get(spec.urls_env, "").split()
        for position, url in enumerate(urls, start=1):
            found.setdefault(url, _Channel(spec.urls_env, position, url))
    return list(found.values())


def _send(channels: list[_Channel], event: Event, deadline_seconds: float) -> list[str]:
    begun = time.monotonic()
    silence()
    urls = [channel.url for channel in channels]
    title, body = _title(event, urls), _body(event, urls)
    attempts: list[tuple[_Channel, _Attempt | None]] = []
    for channel in channels:
        known = service(channel.url)
        attempt = _Attempt(delivery(known, event.severity, title, body)) if known else None
        if attempt:
            attempt.start()
        attempts.append((channel, attempt))
    problems: list[str] = []
    for channel, attempt in attempts:
        left = deadline_seconds - (time.monotonic() - begun)
        problem = attempt.outcome(max(left, 0), deadline_seconds) if attempt else _UNKNOWN
        if problem:
            problems.append(f"{channel.name}: {_safe(problem, _parts([channel.url]))}")
    return problems


def _title(event: Event, urls: list[str]) -> str:
    """The title, which begins with the system's name."""
    name = f"{event.system}: "
    title = event.title if event.title.startswith(name) else f"{name}{event.title}"
    return _cut(_one_line(scrub(title, urls)), _TITLE_LENGTH)


def _body(event: Event, urls: list[str]) -> str:
    """The facts one per line, the link and what to do; scrubbed before it is cut."""
    facts = [_one_line(scrub(f"{name}: {value}", urls)) for name, value in event.facts.items()]
    lines = [_cut(fact, _FACT_LENGTH) for fact in facts[:_FACTS]]
    if len(facts) > _FACTS:
        lines.append(f"and {len(facts) - _FACTS} more")
    link = scrub(run_url(event.run_id), urls)
    advice = _cut(scrub(event.advice, urls).strip(), _ADVICE_LENGTH)
    blocks = ["\n".join(lines), f"run: {link}" if link else "", advice]
    return "\n\n".join(block for block in blocks if block) or _title(event, urls)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


class _Attempt(threading.Thread):
    """Work that may hang; as a daemon it does not keep the process alive either."""

    def __init__(self, work: Callable[[], str]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._problem: str | None = None

    def run(self) -> None:
        try:
            self._problem = self._work()
        except Exception as error:
            self._problem = cause(error)

    def outcome(self, left_seconds: float, deadline_seconds: float) -> str:
        """What went wrong, or nothing, after waiting for at most the time that is left."""
        self.join(left_seconds)
        if self._problem is None:
            return f"did not answer within {deadline_seconds:g} s"
        return self._problem


def _post(url: str, text: str) -> str:
    import urllib.error
    import urllib.request

    request = urllib.request.Request(
        url,
        data=text.encode(),
        method="POST",
        headers={"Content-Type": "text/plain; charset=utf-8", "User-Agent": "backup_pipelines"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_READ_SECONDS) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        return f"the watchdog answered {error.code} {error.reason}"
    return ""


def _parts(urls: Iterable[str]) -> list[str]:
    """All pieces of URLs, since anything may be a token there; as written and as meant."""
    found: list[str] = []
    for url in urls:
        pieces = re.split(r"[/?&=@:#,]+", url.partition("://")[2])
        found += [url, *pieces, *(unquote(piece) for piece in pieces)]
    return found


def _safe(text: str, hidden: Iterable[str]) -> str:
    return _cut(_one_line(scrub(text, hidden)), _REASON_LENGTH)
