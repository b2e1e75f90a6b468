"""A websocket that ends with the session of whoever opened it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CHECKED_SECONDS = 15.0

_POLICY_VIOLATION = 1008

_log = logging.getLogger(__name__)


class Watched:
    """An ASGI application behind a websocket, asked now and then whether it may go on."""

    def __init__(
        self,
        app: ASGIApp,
        may_go_on: Callable[[], Awaitable[bool]],
        every_seconds: float = CHECKED_SECONDS,
    ) -> None:
        self._app = app
        self._may_go_on = may_go_on
        self._every = every_seconds
        self._over = asyncio.Event()

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application until it ends or may go on no longer."""

        async def received() -> Message:
            return await self._receive(receive)

        async def sent(message: Message) -> None:
            if not self._over.is_set():
                await send(message)

        watching = asyncio.create_task(self._watch(send))
        try:
            await self._app(scope, received, sent)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _watch(self, send: Send) -> None:
        while not self._over.is_set():
            await asyncio.sleep(self._every)
            if not await self._is_allowed():
                self._over.set()
                with suppress(RuntimeError):
                    await send({"type": "websocket.close", "code": _POLICY_VIOLATION})

    async def _is_allowed(self) -> bool:
        try:
            return await self._may_go_on()
        except Exception:
            # In doubt it ends: the page opens another one, and is told why it may not.
            _log.exception("whether a websocket may go on cannot be told")
            return False

    async def _receive(self, receive: Receive) -> Message:
        """The next message; to the application it looks as if the client had gone."""
        message = asyncio.ensure_future(receive())
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait({message, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            if not message.done():
                message.cancel()
        if self._over.is_set():
            return {"type": "websocket.disconnect", "code": _POLICY_VIOLATION}
        return message.result()
