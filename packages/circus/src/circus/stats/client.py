"""The ancestors' subscriber to statistics."""

from __future__ import annotations

from circus.legacy.stats import StatsClient

__all__ = ["StatsClient"]
