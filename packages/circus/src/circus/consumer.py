"""The ancestors' subscriber."""

from __future__ import annotations

from circus.legacy.consumer import CircusConsumer

__all__ = ["CircusConsumer"]
