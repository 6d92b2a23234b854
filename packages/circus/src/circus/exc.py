"""The ancestors' exceptions."""

from __future__ import annotations

from circus.legacy.exc import AlreadyExist, ArgumentError, CallError, ConflictError, MessageError

__all__ = ["AlreadyExist", "ArgumentError", "CallError", "ConflictError", "MessageError"]
