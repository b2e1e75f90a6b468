"""Sends one message by one URL of Apprise, and finds out why that failed."""

import logging
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from backup_pipelines.settings import Severity

if TYPE_CHECKING:
    from apprise import Apprise

# Below the deadline of a message, so that Apprise itself can say what went wrong; mail servers
# let strangers wait for some seconds.
_PATIENCE_SECONDS = 12.0

_SYSTEM_ERROR = re.compile(r"\[Errno -?\d+\] ([^'\")\]>]+)")
_MAIL_REPLY = re.compile(r"\((\d{3}, b'[^']*)'\)")
_MEANINGS = {
    "timed out": "did not answer in time",
    "Remote end closed": "closed the connection without an answer",
}


def service(url: str) -> "Apprise | None":
    """Apprise with this URL and patience that is bounded, or None if it does not know it."""
    import apprise

    # Without a deadline of its own and asynchronous mode, Apprise sends in the calling thread.
    # Its thread pools would keep the process alive at the end.
    asset = apprise.AppriseAsset(
        app_id="backup_pipelines",
        app_desc="backup_pipelines",
        app_url="",
        async_mode=False,
        service_timeout=0,
    )
    plugin: Any = apprise.Apprise.instantiate(url, asset=asset)
    if plugin is None:
        return None
    # ?cto= and ?rto= in the URL may ask for less, never for more.
    for name in ("socket_connect_timeout", "socket_read_timeout"):
        asked = getattr(plugin, name) or _PATIENCE_SECONDS
        setattr(plugin, name, min(asked, _PATIENCE_SECONDS))
    found = apprise.Apprise(asset=asset)
    found.add(plugin)
    return found


def delivery(by: "Apprise", severity: Severity, title: str, body: str) -> Callable[[], str]:
    """The work of sending by one service, which returns what went wrong."""
    from apprise import NotifyFormat, NotifyType

    # What is only worth knowing has ended well: green is its colour.
    kinds = {
        "info": NotifyType.SUCCESS,
        "warning": NotifyType.WARNING,
        "error": NotifyType.FAILURE,
    }

    def deliver() -> str:
        with _Reasons() as reasons:
            sent = by.notify(
                body=body, title=title, notify_type=kinds[severity], body_format=NotifyFormat.TEXT
            )
        return "" if sent else reasons.told

    return deliver


def silence() -> None:
    """Keep Apprise's log, which shows URLs and whole messages, from everybody but `_Reasons`."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    # Why a connection failed is only said there at this level.
    logger.setLevel(logging.DEBUG)
    if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
        # Without any handler Python would print warnings by itself.
        logger.addHandler(logging.NullHandler())


class _Reasons(logging.Handler):
    """What Apprise logs in this thread about a failure."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._thread = threading.get_ident()
        self._warnings: list[str] = []
        self._causes: list[str] = []

    def __enter__(self) -> "_Reasons":
        logging.getLogger("apprise").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("apprise").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != self._thread:
            return
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            self._warnings.append(text)
        elif "Exception: " in text:
            self._causes.append(cause(text.partition("Exception: ")[2]))

    @property
    def told(self) -> str:
        """The system's words for it, else Apprise's, such as the HTTP status."""
        said = [text.strip().rstrip(".") for text in self._causes or self._warnings]
        return "; ".join(dict.fromkeys(filter(None, said))) or "was not sent"


def cause(error: Exception | str) -> str:
    """The system's or the server's words in an exception or its text; the rest is Python's."""
    text = str(error) or type(error).__name__
    for part, meaning in _MEANINGS.items():
        if part in text:
            return meaning
    for words in (_SYSTEM_ERROR, _MAIL_REPLY):
        found = words.findall(text)
        if found:
            return found[-1].strip().replace(", b'", " ")
    return text.rpartition("Caused by ")[2]
