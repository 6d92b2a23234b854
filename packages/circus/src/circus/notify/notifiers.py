"""All notifiers of a circusd: they hear the bus, and each sends one message at a time.

Nothing of it blocks the loop, and nothing wakes up while there is nothing to tell. What waits is in memory only: it
does not outlive circusd, which tries for QUIT_S to tell it when it leaves in good order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from circus import clock, nearest
from circus.bus import Bus, Event
from circus.config.model import NotifierConfig
from circus.errors import CircusError
from circus.notify import messages
from circus.notify.desk import Desk, Outcome
from circus.notify.messages import Message, Sender
from circus.notify.ways import Attempt, CommandAttempt, Place, WebAttempt
from circus.probes.commands import Commands

log = logging.getLogger("circus.notify")

#: At the end circusd waits so long for what there is to tell.
QUIT_S = 3.0

#: Who asks for a test waits so much longer than an attempt may take: for the one that is under way.
TEST_MORE_S = 5.0

#: ``publish`` of the engine: watcher, name of the event, fields.
Publish = Callable[[str, str, Mapping[str, object]], None]


class Notifiers:
    def __init__(self, bus: Bus, sender: Sender, place: Place, publish: Publish) -> None:
        self._sender = sender
        self._place = place
        self._publish = publish
        self._commands = Commands()
        self._by_name: dict[str, _Notifier] = {}
        self._unsubscribe = bus.subscribe(self._on_event)

    def configure(self, configs: Iterable[NotifierConfig]) -> None:
        """Those that are there already keep what they have to tell."""
        configured = {config.name: config for config in configs}
        for name in [name for name in self._by_name if name not in configured]:
            self._by_name.pop(name).end("it was removed")
        for name, config in configured.items():
            known = self._by_name.get(name)
            if known is None:
                self._by_name[name] = _Notifier(config, self._sender, self._place, self._commands, self._publish)
            else:
                known.desk.config = config

    def shown(self) -> dict[str, dict[str, object]]:
        return {name: each.shown() for name, each in self._by_name.items()}

    def troubles(self) -> list[str]:
        return [trouble for each in self._by_name.values() if (trouble := each.trouble())]

    async def test(self, name: str) -> tuple[str, float]:
        """What went wrong, or nothing; and how many seconds it took.

        Raises: CircusError not-found.
        """
        if (found := self._by_name.get(name)) is None:
            known = ", ".join(self._by_name) or "none"
            hint = nearest.hint(name, self._by_name, f"there are: {known}")
            raise CircusError("not-found", f"notifier {name!r} not found", hint)
        return await found.test()

    async def close(self) -> None:
        """Within QUIT_S what there is to tell is tried once."""
        self._unsubscribe()
        for each in self._by_name.values():
            each.leave()
        if idle := [each.idle for each in self._by_name.values() if not each.idle.done()]:
            await asyncio.wait(idle, timeout=QUIT_S)
        works = [work for each in self._by_name.values() if (work := each.end("circusd leaves")) is not None]
        await asyncio.gather(*works, return_exceptions=True)
        self._commands.close()

    def _on_event(self, event: Event) -> None:
        for each in self._by_name.values():
            each.hear(event)


class _Notifier:
    """One of them: its desk, what is under way, and the timer for what comes later."""

    def __init__(
        self, config: NotifierConfig, sender: Sender, place: Place, commands: Commands, publish: Publish
    ) -> None:
        self.desk = Desk(config)
        self.idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # set while leaving
        self._sender = sender
        self._place = place
        self._commands = commands
        self._publish = publish
        self._attempt: Attempt | None = None
        self._busy_since = 0.0
        self._dropped_before = 0  # the last message got through
        self._has_told_dropped = False
        self._work: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tests: dict[int, asyncio.Future[Outcome]] = {}

    def hear(self, event: Event) -> None:
        if self.desk.wants(event):
            self.desk.hear(event, clock.monotonic())
            self._turn()

    async def test(self) -> tuple[str, float]:
        began, desk = clock.monotonic(), self.desk
        message = desk.test(clock.wall())
        answer = self._tests[message.number] = asyncio.get_running_loop().create_future()
        self._turn()
        try:
            outcome = await asyncio.wait_for(answer, desk.config.timeout_s + TEST_MORE_S)
        except TimeoutError:
            desk.withdraw(message)
            return self.trouble() or "no answer yet", clock.monotonic() - began
        finally:
            self._tests.pop(message.number, None)
        return outcome.error, clock.monotonic() - began

    def leave(self) -> None:
        self.desk.leave()
        self._turn()
        if not self.desk.waiting and not self.idle.done():
            self.idle.set_result(None)

    def end(self, why: str) -> asyncio.Task[None] | None:
        """What is under way is ended, the rest is not told; the task that has been at it, if there is one."""
        if self._timer is not None:
            self._timer.cancel()
        if self._attempt is not None:
            self._attempt.abort()
        if self._work is not None:
            self._work.cancel()
        for answer in self._tests.values():
            if not answer.done():
                answer.set_result(Outcome(why))
        if untold := self.desk.waiting + self.desk.missed:
            log.warning("notifier %s has not told %d messages: %s", self.desk.config.name, untold, why)
        return self._work

    def shown(self) -> dict[str, object]:
        desk = self.desk
        return {
            "target": desk.config.target,
            "sent": desk.sent,
            "failed": desk.failed,
            "dropped": desk.dropped,
            "collapsed": desk.collapsed,
            "waiting": desk.waiting,
            "error": desk.error,
        }

    def trouble(self) -> str:
        """A sentence, while it does not get through."""
        desk, config = self.desk, self.desk.config
        error = desk.error
        if desk.is_busy and (hangs_s := clock.monotonic() - self._busy_since) > config.timeout_s + 1:
            error = f"it hangs for {hangs_s:.0f} s"
        waiting = f"; messages wait: {desk.waiting}" if desk.waiting else ""
        return f"notifier {config.name} ({config.target}): {error}{waiting}" if error else ""

    def _turn(self) -> None:
        """Begin what is due, and see to what will be."""
        now = clock.monotonic()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (message := self.desk.take(now)) is not None:
            self._busy_since = now
            self._work = asyncio.get_running_loop().create_task(self._send(message))
        if (at := self.desk.due(now)) is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - now), self._turn)
        self._tell_dropped()

    async def _send(self, message: Message) -> None:
        desk, missed = self.desk, self.desk.missed
        config = desk.config
        try:
            self._attempt = self._begin(message, missed)
            outcome = await self._attempt.outcome()
        except RuntimeError as error:
            outcome = Outcome(f"{error}")  # the system has no thread for it
        except Exception as error:
            log.exception("a message could not be sent notifier=%s", config.name)
            outcome = Outcome(f"{type(error).__name__}: circusd failed to send it")
        finally:
            self._attempt = None
        is_given_up = desk.settle(message, outcome, clock.monotonic(), told_missed=missed)
        if (answer := self._tests.get(message.number)) is not None and not answer.done():
            answer.set_result(outcome)
        if is_given_up:
            self._publish("", "notify_failed", {"notifier": config.name, "error": outcome.error})
        elif not outcome.error:
            self._dropped_before, self._has_told_dropped = desk.dropped, False
        self._turn()
        if desk.is_leaving and not desk.waiting and not self.idle.done():
            self.idle.set_result(None)

    def _begin(self, message: Message, missed: int) -> Attempt:
        config = self.desk.config
        attempt = 1 if message.is_test else self.desk.attempt
        body = messages.as_json(message, self._sender, notifier=config.name, attempt=attempt, missed=missed)
        if config.url:
            return WebAttempt(config, body)
        variables = messages.as_variables(message, self._sender, notifier=config.name, missed=missed)
        return CommandAttempt(config, body, variables, self._place, self._commands)

    def _tell_dropped(self) -> None:
        """Once, until something gets through again."""
        if self.desk.dropped > self._dropped_before and not self._has_told_dropped:
            self._has_told_dropped = True
            config = self.desk.config
            self._publish("", "notify_dropped", {"notifier": config.name, "queue": config.queue})
