"""An arbiter in a thread of its own, and the one function by which programs get arbiters."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from circus.embedding.arbiter import Arbiter
from circus.embedding.life import Callback
from circus.embedding.outcome import Outcome
from circus.embedding.watcher import Watcher
from circus.errors import CircusError


class ThreadedArbiter(Arbiter):
    """`start` returns when the watchers have been started, `stop` when all has ended.

    Raises: as Arbiter; what goes wrong at the start is raised by `start`.
    """

    def __init__(self, watchers: Iterable[Mapping[str, Any] | Watcher], *args: Any, **keywords: Any) -> None:
        if keywords.get("loop") is not None:
            raise CircusError("usage", "an arbiter in the background has a loop of its own", "give it none")
        super().__init__(watchers, *args, **keywords)
        self._runner: threading.Thread | None = None

    def start(self, cb: Callback | None = None) -> None:
        is_done, failure = threading.Event(), list[BaseException]()
        self._on_started = is_done.set

        def run() -> None:
            try:
                Arbiter.start(self, cb)
            except BaseException as error:  # noqa: BLE001 - raised in the thread that has started it
                failure.append(error)
            finally:
                is_done.set()

        # Not a daemon: a program that ends without `stop` ends when its watchers have.
        self._runner = threading.Thread(target=run, name="circus-arbiter")
        self._runner.start()
        is_done.wait()
        if failure:
            self._runner.join()
            raise failure[0]

    def stop(self) -> Outcome[None]:
        outcome = super().stop()
        if self._runner is not None and not self._life.is_here:
            self._runner.join()
        return outcome

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        if self._runner is not None:
            self._runner.join(timeout)

    def is_alive(self) -> bool:
        return self._runner is not None and self._runner.is_alive()


def get_arbiter(
    watchers: Iterable[Mapping[str, Any] | Watcher],
    controller: str | None = None,
    pubsub_endpoint: str | None = None,
    statsd: bool = False,
    stats_endpoint: str | None = None,
    statsd_close_outputs: bool = False,
    multicast_endpoint: str | None = None,
    env: object = None,
    name: str | None = None,
    context: object = None,
    background: bool = False,
    stream_backend: str = "thread",
    httpd: bool = False,
    plugins: Iterable[Mapping[str, Any]] | None = None,
    debug: bool = False,
    proc_name: str = "circusd",
    loop: Any = None,
    check_delay: float = 1.0,
    **kw: Any,
) -> Arbiter:
    """An Arbiter that is not started yet; with ``background`` one that lives in a thread.

    ``watchers``: mappings with ``cmd`` and any option of a watcher, or Watchers. ``plugins``: mappings with ``use`` and
    the plugin's keys. ``controller``: a circusd with that endpoint, by which clients find it; ``name``: a name of its
    own. ``env``, ``context``, ``stream_backend`` and ``proc_name`` have no effect.

    Raises: CircusError, ConfigInvalid, for what a configuration may not say; AlreadyExist, for two of one name.
    """
    del env, context, stream_backend, proc_name
    make = ThreadedArbiter if background else Arbiter
    return make(
        watchers,
        controller,
        pubsub_endpoint,
        check_delay,
        statsd=statsd,
        stats_endpoint=stats_endpoint,
        statsd_close_outputs=statsd_close_outputs,
        multicast_endpoint=multicast_endpoint,
        name=name,
        httpd=httpd,
        plugins=plugins,
        debug=debug,
        loop=loop,
        **kw,
    )
