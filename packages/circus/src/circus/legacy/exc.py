"""The ancestors' exceptions."""

from __future__ import annotations


class AlreadyExist(Exception):
    """There is a watcher of that name."""


class MessageError(Exception):
    """A message that is not understood."""


class CallError(Exception):
    """No answer came."""


class ArgumentError(Exception):
    """A command was given the wrong arguments."""


class ConflictError(Exception):
    """Two commands that exclude each other."""
