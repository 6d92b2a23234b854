"""Papa, a process kernel: see papa.client for the published API."""

__version__ = "2.0.0.dev0"
