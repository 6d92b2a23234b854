"""The emitter under its other name."""

from __future__ import annotations

from circus.plugins.statsd import StatsdEmitter

__all__ = ["StatsdEmitter"]
