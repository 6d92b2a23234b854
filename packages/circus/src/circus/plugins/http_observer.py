"""Asks a web page now and then, and restarts a watcher when there is no good answer."""

from __future__ import annotations

import asyncio
import logging
import time
import urllib.request
from typing import Any

from circus.config import plugins as known
from circus.plugins.statsd import BaseObserver

log = logging.getLogger("circus.plugins")


class HttpObserver(BaseObserver):
    name = "http_observer"
    table = known.HTTP_OBSERVER
    default_app_name = "http_observer"

    def __init__(self, *args: Any, **config: Any) -> None:
        super().__init__(*args, **config)
        self._is_asking = False

    async def look_after(self) -> None:
        if self._is_asking:
            return
        self._is_asking = True
        began = time.monotonic()
        try:
            await asyncio.wait_for(asyncio.to_thread(self._ask), self.options["timeout"])
        except Exception as error:  # noqa: BLE001 - whatever it is, there was no good answer
            self._on_failure(f"no answer within {self.options['timeout']:g} s" if _is_late(error) else str(error))
        else:
            self.statsd.timed("http_stats.request_time", round((time.monotonic() - began) * 1000, 1))
        finally:
            self._is_asking = False

    def _ask(self) -> None:
        with urllib.request.urlopen(self.options["check_url"], timeout=self.options["timeout"]) as answer:  # noqa: S310
            answer.read(1)

    def _on_failure(self, why: str) -> None:
        log.warning("%s: %s", self.options["check_url"], why)
        self.statsd.increment("http_stats.error")
        if self.options["restart_on_error"]:
            self.cast("restart", name=self.options["restart_on_error"], match="simple")
            self.statsd.increment("http_stats.restart_on_error")


def _is_late(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError)
