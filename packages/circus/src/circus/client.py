"""The ancestors' client."""

from __future__ import annotations

from circus.legacy.client import AsyncCircusClient, CircusClient, cast_message, make_json, make_message

__all__ = ["AsyncCircusClient", "CircusClient", "cast_message", "make_json", "make_message"]
