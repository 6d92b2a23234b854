"""The ways by which a message leaves: each attempt is an `Attempt`, which a notifier waits for without blocking."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from circus.config.model import NotifierConfig
from circus.notify.desk import Outcome
from circus.probes import NotSo
from circus.probes.commands import Command, Commands


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how commands run: as circusd does."""

    environ: Mapping[str, str]
    working_dir: str
    umask: int


class Attempt(Protocol):
    """Begun when it is made. ``outcome`` is awaited once; ``abort`` ends it as soon as that is possible."""

    async def outcome(self) -> Outcome: ...
    def abort(self) -> None: ...


class WebAttempt:
    """In a thread of its own, which may outlive whoever waits for it, and circusd's loop."""

    def __init__(self, config: NotifierConfig, body: bytes) -> None:
        from circus.notify.web import Post  # and with it http.client, which only these need

        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Outcome] = self._loop.create_future()
        self._post = Post(config.url, dict(config.headers), body, config.timeout_s)
        self._timer = self._loop.call_later(config.timeout_s, self._post.abort)
        threading.Thread(target=self._run, name=f"notify-{config.name}", daemon=True).start()

    async def outcome(self) -> Outcome:
        try:
            return await self._answer
        finally:
            self._timer.cancel()

    def abort(self) -> None:
        self._post.abort()

    def _run(self) -> None:
        try:
            outcome = self._post.run()
        except Exception as error:  # noqa: BLE001 - a thread that ended by a fault of ours is an attempt that failed
            outcome = Outcome(f"{type(error).__name__}: circusd failed to send it")
        try:
            self._loop.call_soon_threadsafe(self._finish, outcome)
        except RuntimeError:
            return  # the loop has ended before

    def _finish(self, outcome: Outcome) -> None:
        if not self._answer.done():
            self._answer.set_result(outcome)


class CommandAttempt:
    """By a helper that lives for a moment, in a process group of its own."""

    def __init__(
        self, config: NotifierConfig, body: bytes, variables: Mapping[str, str], place: Place, commands: Commands
    ) -> None:
        env = {**place.environ, **variables}
        command = Command(list(config.argv), env, place.working_dir, place.umask, told=body)
        self._task = asyncio.ensure_future(commands.ask(command, config.timeout_s))

    async def outcome(self) -> Outcome:
        try:
            await self._task
        except NotSo as error:
            return Outcome(str(error))
        return Outcome()

    def abort(self) -> None:
        self._task.cancel()
