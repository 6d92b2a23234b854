"""Who is asked whether it is ready, and whether it is healthy; and who says so without being asked.

One `Vital` for each process whose watcher wants to know, as long as it lives. That a process was ready once stands in
the kernel, as a value that goes when the process is forgotten: the next circusd does not ask again. Facts go to the
cores when they have asked for them (the action Probe), which may be after the process has said it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from circus import clock
from circus.config import checks, expand
from circus.config.model import HealthPolicy, WatcherConfig
from circus.engine.hosted import Hosted
from circus.engine.link import UNANSWERED
from circus.engine.notices import VARIABLE
from circus.engine.vital import Vital, close_lines, own_files, read_value, speaks, stop, value_of
from circus.errors import CircusError
from circus.probes import NotSo, Said, network
from circus.probes.commands import Command, Commands
from circus.probes.lines import Lines
from circus.supervise import events, vitals
from circus.supervise.states import SlotKey
from papa.errors import PapaError

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")

WATCHDOG = "WATCHDOG_USEC"

#: The pause after the first attempt, when most services are not far from ready; it doubles up to `ready_interval`.
FIRST_PAUSE_S = 0.05

#: A single attempt to see whether a process is ready takes no longer.
ATTEMPT_S = 5.0


class Probing:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._vitals: dict[int, Vital] = {}  # by the kernel's id
        self._ready: dict[int, float] = {}  # since when, as an earlier circusd has noted it
        self._early: dict[SlotKey, tuple[int, str]] = {}
        self._commands = Commands()
        engine.pump.know_with(self._known_with)

    # What processes are told --------------------------------------------------------------------------------

    async def prepare(self, config: WatcherConfig) -> None:
        """Before a process is spawned by it. Raises: CircusError."""
        while speaks(config):
            try:
                await self._engine.notices.open()
                return
            except PapaError as error:
                await self._engine.link.wait_to_ask_again(error)

    def tell(self, config: WatcherConfig, spec: dict[str, Any]) -> dict[str, Any]:
        """``spec`` of a new process, with what it has to know."""
        if config.ready is not None:
            spec["meta"]["awaits_ready"] = True
        if speaks(config):
            spec["meta"]["notify"] = True
            spec["env"][VARIABLE] = self._engine.notices.path
            if config.health is not None and (check := checks.of(config.health.check)).kind == "watchdog":
                spec["env"][WATCHDOG] = str(int(check.seconds * 1e6))
        return spec

    # An earlier circusd -------------------------------------------------------------------------------------

    async def recall(self, rows: dict[int, dict[str, Any]]) -> None:
        """Who of ``rows`` was ready already; and the socket is opened where anybody may speak.

        Raises: PapaError.
        """
        engine = self._engine
        by_name = {self._value_name(number): row for number, row in rows.items()}
        self._ready = {}
        gone = []
        for each in await engine.kernel.list("values", self._value_name("*")):
            row = by_name.get(each["name"])
            known = read_value(each["value"], row)
            if row is not None and known is not None:
                self._ready[row["id"]] = known
            else:
                gone.append(each["name"])
        if gone:
            await engine.kernel.commit(values=dict.fromkeys(gone))
        if any(row["running"] and row["meta"].get("notify") for row in rows.values()):
            await self.open_door()

    async def open_door(self) -> None:
        """For those who run already. Raises: PapaError lost or timeout."""
        try:
            await (self._engine.notices.open_again() if self._engine.is_started else self._engine.notices.open())
        except CircusError as error:
            log.error("what processes say of themselves is not heard: %s", error.message)
            self._engine.troubles[VARIABLE] = f"what processes say of themselves is not heard: {error.message}"
        else:
            self._engine.troubles.pop(VARIABLE, None)

    def was_ready(self, row: dict[str, Any]) -> bool:
        """One that was spawned without being waited for is."""
        return not row["meta"].get("awaits_ready") or row["id"] in self._ready

    # Lives --------------------------------------------------------------------------------------------------

    def hold(self, hosted: Hosted, row: dict[str, Any], fds: dict[str, int]) -> None:
        """A process is there, and its output does not flow yet."""
        known = self._ready.pop(row["id"], None)
        if known is not None:
            hosted.value = self._value_name(row["id"])
        config = self._engine.rolls.config_for(hosted)
        if config is None or hosted.has_exited:
            return
        meta, now = row["meta"], clock.monotonic()
        vital = Vital(hosted, bool(meta.get("notify")), bool(meta.get("awaits_ready")), is_ready=known is not None)
        vital.is_noted = vital.is_ready
        vital.ready_at = now if known is None else now - max(0.0, clock.wall() - known)
        # What was said while nobody was there waits in the socket, if that was there.
        vital.beat_at = now if self._engine.is_started or self._engine.notices.was_there else None
        self._vitals[hosted.kernel_id] = vital
        if vital.is_awaited and not vital.is_ready and (config.ready or "").startswith("line "):
            at = {name: stream["acked"] for name, stream in row["streams"].items()}
            vital.lines = Lines(own_files(fds), at, checks.of(config.ready or "").target)
            self._look(vital)
        early, self._early = self._early, {}
        if hosted.slot in early:
            self.begin(hosted.slot, *early[hosted.slot])
        self._engine.notices.look()

    def go_on(self, hosted: Hosted, fds: dict[str, int]) -> None:
        """The kernel was away and has given other descriptors."""
        vital = self._vitals.get(hosted.kernel_id)
        if vital is not None and vital.lines is not None:
            vital.lines.go_on_with(own_files(fds))
            self._look(vital)

    def forget(self, hosted: Hosted) -> None:
        """It has ended."""
        vital = self._vitals.pop(hosted.kernel_id, None)
        if vital is not None:
            stop(vital)
            close_lines(vital)

    def close(self) -> None:
        for vital in list(self._vitals.values()):
            self.forget(vital.hosted)
        self._commands.close()

    def said(self) -> dict[SlotKey, str]:
        """What processes say of themselves."""
        return {vital.hosted.slot: vital.text for vital in self._vitals.values() if vital.text}

    def is_any_expected(self) -> bool:
        """Whether anybody is still to say READY=1."""
        return any(self.must_note(vital.hosted) for vital in self._vitals.values())

    # The cores ask ------------------------------------------------------------------------------------------

    def begin(self, slot: SlotKey, incarnation: int, what: str) -> None:
        hosted = self._engine.lives.hosted.in_slot(slot, incarnation)
        vital = self._vitals.get(hosted.kernel_id) if hosted is not None else None
        if vital is None:
            self._early = {slot: (incarnation, what)}  # it is just being adopted, and held next
            return
        stop(vital)
        vital.asked = what
        if what == "ready" and vital.is_ready:
            self._post_ready(vital)
        elif not (config := self._config_of(vital)):
            return
        elif what == "ready":
            vital.task = asyncio.create_task(self._guarded(vital, partial(self._ask, vital)))
        elif config.health is not None:
            vital.task = asyncio.create_task(self._guarded(vital, partial(self._watch, vital, config.health)))

    def ask_anew(self, watcher: str) -> None:
        """By its options as they are now, those who are not ready yet."""
        for vital in list(self._vitals.values()):
            hosted = vital.hosted
            if hosted.slot.watcher == watcher and vital.asked == "ready" and not vital.is_ready:
                self.begin(hosted.slot, hosted.incarnation, "ready")

    async def _guarded(self, vital: Vital, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception:
            log.exception("%s cannot be asked", vital.hosted.slot)

    async def _ask(self, vital: Vital) -> None:
        """Until it is ready."""
        pause_s = FIRST_PAUSE_S
        while not vital.is_ready and (config := self._config_of(vital)) is not None and config.ready is not None:
            try:
                check = self._check(vital, config, config.ready)
                if check.kind == "delay":
                    await asyncio.sleep(check.seconds - (clock.wall() - vital.hosted.started_at))
                elif not check.is_asked:
                    self._doubt(vital, "it has not said READY=1" if check.kind == "notify" else "no such line so far")
                    return
                else:
                    await self._attempt(vital, config, check, min(ATTEMPT_S, config.start_timeout_s))
                await self.note_ready(vital.hosted)
                return
            except NotSo as error:
                self._doubt(vital, str(error))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, config.ready_interval_s)

    async def _watch(self, vital: Vital, policy: HealthPolicy) -> None:
        """As long as it lives, and is to be asked."""
        if policy.check.startswith("watchdog "):
            await self._watch_beats(vital, policy, checks.of(policy.check).seconds)
            return
        state = vitals.Vitals()
        while (config := self._config_of(vital)) is not None and config.health is not None:
            await asyncio.sleep(policy.interval_s)
            reason = ""
            try:
                await self._attempt(vital, config, self._check(vital, config, policy.check), policy.timeout_s)
            except NotSo as error:
                reason = str(error)
            ready_for_s = clock.monotonic() - vital.ready_at
            state, turn = vitals.note(state, policy, is_well=not reason, ready_for_s=ready_for_s)
            self._tell_turn(vital, turn, reason)

    async def _watch_beats(self, vital: Vital, policy: HealthPolicy, allowed_s: float) -> None:
        if not vital.is_told:
            log.warning("%s was started without a watchdog: it is watched from its next start on", vital.hosted.slot)
            return
        state = vitals.Vitals()
        vital.beat_at = clock.monotonic() if vital.beat_at is not None else None
        while (config := self._config_of(vital)) is not None and config.health is not None:
            wait_s = None
            if vital.beat_at is not None:
                now = clock.monotonic()
                silent_s = math.inf if vital.is_alarmed else now - vital.beat_at
                state, turn, wait_s = vitals.note_silence(
                    state, policy, silent_for_s=silent_s, allowed_s=allowed_s, ready_for_s=now - vital.ready_at
                )
                reason = "it has said WATCHDOG=trigger" if vital.is_alarmed else f"no WATCHDOG=1 for {allowed_s:g} s"
                self._tell_turn(vital, turn, reason)
            vital.is_listened_to = state.is_ill or wait_s is None
            vital.news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if vital.is_listened_to else wait_s):
                    await vital.news.wait()

    def _tell_turn(self, vital: Vital, turn: vitals.Turn, reason: str) -> None:
        slot, incarnation = vital.hosted.slot, vital.hosted.incarnation
        if turn is vitals.Turn.ILL:
            self._engine.post(events.Unhealthy(slot, incarnation, reason))
        elif turn is vitals.Turn.WELL:
            self._engine.post(events.Healthy(slot, incarnation))

    def _config_of(self, vital: Vital) -> WatcherConfig | None:
        """None when there is nothing to ask any more."""
        if vital.hosted.has_exited or vital.hosted.is_being_ended:
            return None
        return self._engine.rolls.config_for(vital.hosted)

    def _check(self, vital: Vital, config: WatcherConfig, text: str) -> checks.Check:
        """Raises: NotSo."""
        env = expand.child_environment(config, self._engine.environ)
        rows = self._engine.sockets.rows
        ports = {name: row["port"] for name, row in rows.items() if row.get("port") is not None}
        try:
            return checks.expanded(text, config, wid=vital.hosted.slot.wid, env=env, ports=ports)
        except ValueError as error:
            raise NotSo(f"the check {error}".replace("; ", ": ")) from None

    async def _attempt(self, vital: Vital, config: WatcherConfig, check: checks.Check, timeout_s: float) -> None:
        """Raises: NotSo."""
        if check.kind != "exec":
            await network.ask(check, timeout_s)
            return
        try:
            spec = self._engine.spawn_spec(vital.hosted.slot, "", config)
        except CircusError as error:
            raise NotSo(error.message) from None
        env = {key: text for key, text in spec["env"].items() if key not in (VARIABLE, WATCHDOG)}
        identity = {key: spec.get(key) for key in ("uid", "gid", "groups")}
        command = Command(checks.words(check), env, spec["cwd"], spec["umask"], **identity)
        await self._commands.ask(command, timeout_s)

    # Ready --------------------------------------------------------------------------------------------------

    def must_note(self, hosted: Hosted) -> bool:
        """Whether it counts that this process says READY=1."""
        vital = self._vitals.get(hosted.kernel_id)
        config = self._engine.rolls.config_for(hosted)
        is_awaited = vital is not None and vital.is_awaited and not vital.is_ready
        return is_awaited and config is not None and config.ready == "notify"

    async def note_ready(self, hosted: Hosted) -> None:
        """Tell the cores, and note it in the kernel; when this returns, no circusd waits for it once more."""
        vital = self._vitals.get(hosted.kernel_id)
        if vital is None or vital.is_ready:
            return
        vital.is_ready, vital.ready_at = True, clock.monotonic()
        close_lines(vital)
        if vital.asked == "ready":
            self._post_ready(vital)
        hosted.value = self._value_name(hosted.kernel_id)
        while self._vitals.get(hosted.kernel_id) is vital:
            try:
                await self._engine.kernel.commit(values={hosted.value: value_of(hosted)})
            except PapaError as error:
                if error.code not in UNANSWERED:
                    raise
                await self._engine.link.wait_to_ask_again(error)
            else:
                vital.is_noted = True
                return

    def _post_ready(self, vital: Vital) -> None:
        self._engine.post(events.Ready(vital.hosted.slot, vital.hosted.incarnation))

    def _doubt(self, vital: Vital, reason: str) -> None:
        if reason != vital.doubt:
            vital.doubt = reason
            self._engine.post(events.NotReady(vital.hosted.slot, vital.hosted.incarnation, reason))

    # What processes say -------------------------------------------------------------------------------------

    def on_output(self, items: Iterable[tuple[int, int | None, int | None]]) -> None:
        """The kernel's event: the id of a process first."""
        for number, *_ in items:
            if (vital := self._vitals.get(number)) is not None:
                self._look(vital)

    def _look(self, vital: Vital) -> None:
        if vital.lines is not None and vital.lines.look():
            vital.has_matched = True
            close_lines(vital)
            self._engine.begin(self.note_ready(vital.hosted))

    def _known_with(self, numbers: set[int]) -> dict[str, str | None]:
        """A line that makes ready is noted with its acknowledgement: afterwards nobody could find it again."""
        values: dict[str, str | None] = {}
        for number in numbers & self._vitals.keys():
            vital = self._vitals[number]
            self._look(vital)
            if vital.has_matched and not vital.is_noted:
                vital.hosted.value = self._value_name(number)
                values[vital.hosted.value] = value_of(vital.hosted)
        return values

    def on_said(self, hosted: Hosted, said: Said) -> None:
        vital = self._vitals.get(hosted.kernel_id)
        if vital is None:
            return
        if said.text is not None or said.is_ready:
            vital.text = said.text or ""
        if said.is_beat or said.is_alarm:
            vital.is_alarmed = said.is_alarm
            is_news = said.is_alarm or vital.is_listened_to
            vital.beat_at = clock.monotonic()
            if is_news:
                vital.news.set()
        if said.more_s is not None and not vital.is_ready:
            self._engine.post(events.NotReady(hosted.slot, hosted.incarnation, more_s=said.more_s))

    def _value_name(self, number: int | str) -> str:
        return f"{self._engine.names.prefix}ready.{number}"
