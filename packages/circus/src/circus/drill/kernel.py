"""The kernel as the drill sees it: a viewer that owns nothing, and who kills or re-executes it when told."""

from __future__ import annotations

import signal
from typing import Any, Self

from circus import procfs
from circus.errors import CircusError
from papa.client import launch
from papa.client.blocking import Connection
from papa.client.reply import Reply, last_key
from papa.errors import PapaError

#: What the kernel knows us as.
CLIENT = "circusctl drill"

#: Two starts of Python on a busy machine.
UPGRADE_S = 60.0

Row = dict[str, Any]


class Kernel:
    """A connection that comes back after the kernel was away. Every call raises CircusError and nothing else."""

    def __init__(self, endpoint: str | None) -> None:
        self.endpoint = endpoint
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def connect(self, timeout_s: float = 10.0) -> None:
        """Raises: CircusError unreachable."""
        self.close()
        try:
            self._connection = Connection(self.endpoint, client=CLIENT, autostart=False, timeout_s=timeout_s)
        except PapaError as error:
            raise CircusError("unreachable", f"papa: {error.message}", error.hint) from None

    @property
    def pid(self) -> int:
        """Of the one that we are connected to."""
        return 0 if self._connection is None else int(self._connection.hello["pid"])

    def status(self) -> Row:
        return self._ask("status")

    def rows(self) -> list[Row]:
        """All processes that have a name or run."""
        rows: list[Row] = []
        answer: Row = {"more": True}
        while answer["more"]:
            behind = {"after": last_key("processes", rows)} if rows else {}
            answer = self._ask("list", what="processes", patterns=[], **behind)
            rows += answer["items"]
            if not answer["items"]:
                break
        return rows

    def files(self, kernel_id: int) -> dict[str, int]:
        """Read-only descriptors of a process's output, which the caller has to close; none if it is gone."""
        try:
            return self._request("attach", id=kernel_id, fds=True).fds
        except PapaError as error:
            if error.code == "not-found":
                return {}
            raise _wrong(error) from None

    def kill(self) -> None:
        """SIGKILL. The connection is lost with it."""
        found = procfs.row(self.pid)
        if found is None:
            raise CircusError("conflict", f"papa (pid {self.pid}) is gone", "look at `papa status`")
        procfs.send_signal(found, signal.SIGKILL)
        self.close()

    def reexecute(self, *, only_check: bool = False) -> None:
        """As `papa upgrade` does, with the very code that runs. Raises: CircusError operation-failed."""
        python, folder = self.status()["program"]
        how = {"check": only_check, "python": python, "folder": folder, "setproctitle": launch.find_setproctitle()}
        try:
            self._request("upgrade", timeout_s=UPGRADE_S, **how)
        except PapaError as error:
            if error.code != "lost" or only_check:
                raise CircusError("operation-failed", f"papa upgrade: {error.message}", error.hint) from None
        self.close()

    def _ask(self, op: str, **args: Any) -> Row:
        try:
            return self._request(op, **args).ok
        except PapaError as error:
            raise _wrong(error) from None

    def _request(self, op: str, **args: Any) -> Reply:
        if self._connection is None or not self._connection.is_open:
            self.connect()
        assert self._connection is not None
        return self._connection.request(op, **args)


def _wrong(error: PapaError) -> CircusError:
    return CircusError("unreachable", f"papa: {error.message}", error.hint)
