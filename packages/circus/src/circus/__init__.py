"""Circus, a process manager that can be restarted under the processes it manages."""

__version__ = "1.0.0.dev0"
