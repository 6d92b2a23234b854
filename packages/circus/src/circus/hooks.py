"""Users' hooks: found when a watcher is set up, run beside the loop, and contained.

A hook is called as ``hook(watcher=..., arbiter=..., hook_name=..., **kwargs)``, the ancestors' signature. It runs in a
thread of its own, so that one that hangs stops neither supervision nor the end of circusd; after ``TIMEOUT_S`` its
answer counts as an exception. An exception counts as False, or as True where the configuration or the hook's kind
says that errors are ignored.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Self

from circus import importing
from circus.config.model import ConfigInvalid, Finding, HookConfig, WatcherConfig
from circus.errors import CircusError

log = logging.getLogger("circus.hooks")

#: A hook that waits for its service to come up needs tens of seconds; one that needs minutes is stuck.
TIMEOUT_S = 60.0

#: An exception in one of these lets the action go on: they report, they do not decide, or (before_signal) a
#: process must be stoppable in spite of them.
NEVER_VETO_BY_ERROR = frozenset(
    {"before_stop", "after_stop", "before_signal", "after_signal", "before_reap", "after_reap", "extended_stats"}
)

HookFunction = Callable[..., object]


def find(path: str) -> HookFunction:
    """The function that ``module.attribute`` or ``module:attribute`` names.

    Raises:
        CircusError: config-invalid, when there is no such module or function.
    """
    try:
        found = importing.find(path)
    except (Exception, SystemExit) as error:
        raise CircusError(
            "config-invalid",
            f"hook {path}: {type(error).__name__}: {error}",
            "write it as module.function, with the module on the PYTHONPATH of circusd or of the watcher's [env]",
        ) from error
    if not callable(found):
        raise CircusError("config-invalid", f"hook {path} is not a function", "write it as module.function")
    return found


def check(watchers: Iterable[WatcherConfig]) -> None:
    """Find the hooks of all watchers before anything is started.

    Raises:
        ConfigInvalid: with every hook that there is not.
    """
    problems: list[Finding] = []
    for watcher in watchers:
        try:
            HookSet.of(watcher)
        except ConfigInvalid as error:
            problems += error.findings
    if problems:
        raise ConfigInvalid(problems)


class HookSet:
    """The hooks of one watcher."""

    def __init__(self, watcher: str, configured: Mapping[str, HookConfig]) -> None:
        self._watcher = watcher
        self._configured = dict(configured)
        self._functions: dict[str, HookFunction] = {}
        problems = []
        for name, hook in configured.items():
            try:
                self._functions[name] = find(hook.path)
            except CircusError as error:
                what = f"{watcher}: {name}: {error.message}"
                problems.append(Finding(hook.file, hook.line, what, error.hint))
        if problems:
            raise ConfigInvalid(problems)

    @classmethod
    def of(cls, config: WatcherConfig) -> Self:
        """The hooks of a configured watcher; the PYTHONPATH in its environment is searched for them, too.

        Raises:
            ConfigInvalid: with every hook that cannot be found.
        """
        if config.hooks:
            importing.make_importable(config.env.get("PYTHONPATH", ""))
        return cls(config.name, config.hooks)

    def has(self, name: str) -> bool:
        return name in self._functions

    async def call(
        self, name: str, face: object, arbiter: object, **kwargs: object
    ) -> tuple[bool, BaseException | None]:
        """Run hook ``name``; (its answer as a truth value, the exception that it raised)."""
        function = self._functions[name]
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[object] = loop.create_future()

        def finish(result: object, error: BaseException | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        def run() -> None:
            result: object = None
            failure: BaseException | None = None
            try:
                result = function(watcher=face, arbiter=arbiter, hook_name=name, **kwargs)
            except BaseException as error:  # noqa: BLE001 - SystemExit of a hook must not pass silently either
                failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
            try:
                loop.call_soon_threadsafe(finish, result, failure)
            except RuntimeError:
                log.info("%s: hook %s ended after circusd's loop did", self._watcher, name)

        threading.Thread(target=run, name=f"hook-{self._watcher}-{name}", daemon=True).start()
        limit = asyncio.timeout(TIMEOUT_S)
        try:
            async with limit:
                await answer
            return bool(answer.result()), None
        except Exception as raised:  # noqa: BLE001 - contained here: the caller publishes hook_failure
            # One that met a time-out of its own has answered.
            error = TimeoutError(f"gave no answer within {TIMEOUT_S:g} s") if limit.expired() else raised
            ignored = self._configured[name].ignore_errors or name in NEVER_VETO_BY_ERROR
            log.warning("%s: hook %s failed ignored=%s: %r", self._watcher, name, ignored, error)
            return ignored, error
