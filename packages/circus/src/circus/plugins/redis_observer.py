"""Measures a Redis server, and restarts a watcher when it does not answer. Needs the package `redis`."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Mapping
from typing import Any

from circus.config import plugins as known
from circus.errors import CircusError
from circus.plugins.statsd import BaseObserver, is_number

log = logging.getLogger("circus.plugins")


class RedisObserver(BaseObserver):
    name = "redis_observer"
    table = known.REDIS_OBSERVER
    default_app_name = "redis_observer"

    def __init__(self, *args: Any, **config: Any) -> None:
        super().__init__(*args, **config)
        try:
            redis = importlib.import_module("redis")
        except ImportError:
            raise CircusError(
                "failed", "redis_observer needs the package redis", "pip install redis (the extra papa-circus[redis])"
            ) from None
        timeout = self.options["timeout"]
        try:
            self.redis = redis.from_url(
                self.options["redis_url"], socket_timeout=timeout, socket_connect_timeout=timeout
            )
        except ValueError as error:
            raise CircusError("config-invalid", f"redis_url: {error}") from None  # it may hold a password
        self._is_asking = False

    async def look_after(self) -> None:
        if self._is_asking:
            return
        self._is_asking = True
        try:
            info = await asyncio.to_thread(self.redis.info)
        except Exception as error:  # noqa: BLE001 - whatever it is, there was no good answer
            self._on_failure(error)
        else:
            for name, value in gauges_of(info).items():
                self.statsd.gauge(f"redis_stats.{name}", value)
        finally:
            self._is_asking = False

    def _on_failure(self, error: Exception) -> None:
        log.warning("redis at %s: %s", self.options["redis_url"].rpartition("@")[2], error)
        self.statsd.increment("redis_stats.error")
        if self.options["restart_on_timeout"]:
            self.cast("restart", name=self.options["restart_on_timeout"], match="simple")
            self.statsd.increment("redis_stats.restart_on_error")


def gauges_of(info: Mapping[str, Any]) -> dict[str, float]:
    """Every number that Redis tells of itself; of its databases, too: ``db0_keys``."""
    found: dict[str, float] = {}
    for name, value in info.items():
        if isinstance(value, Mapping):
            found |= {f"{name}_{key}": each for key, each in value.items() if is_number(each)}
        elif is_number(value):
            found[name] = value
    return found
