"""Killed while sockets open and close, clients come, and kernels follow each other."""

from __future__ import annotations

import os
import signal
from typing import Any, ClassVar

from packages.papa.tests.instants import tracing
from packages.papa.tests.instants.scene import Scene
from packages.papa.tests.instants.world import STREAMS, Broken, can_connect, wait_for

from papa.client.blocking import Connection
from papa.client.reply import Reply
from papa.errors import PapaError


class Listen(Scene):
    """Sockets are opened."""

    def prepare(self) -> None:
        self.path = f"{self.world.folder}/another"
        self.specs: dict[str, dict[str, Any]] = {
            "tcp2": {"host": "127.0.0.1", "port": 0},
            "unix2": {"path": self.path},
        }
        self.replies: dict[str, Reply | None] = {}

    def act(self) -> None:
        for name, spec in self.specs.items():
            self.replies[name] = self.world.try_to("listen", name=name, **spec)
            if self.replies[name] is None:
                return

    def check(self) -> None:
        world = self.world
        known = {row["name"]: row for row in world.list("sockets")}
        for name, spec in self.specs.items():
            reply = self.replies.get(name)
            if reply is not None and known.get(name) != reply.ok:
                raise Broken(f"told {reply.ok}, there is {known.get(name)}")
            row = world.ask("listen", name=name, **spec)
            row.pop("existing", None)
            if name in known and known[name] != row:
                raise Broken(f"known was {known[name]}, asked again it is {row}")
            world.sockets[name] = row
        world.check()
        self.take_away()

    def take_away(self) -> None:
        rows = [self.world.sockets.pop(name) for name in self.specs]
        self.world.ask("remove", what="sockets", names=list(self.specs))
        for row in rows:
            if can_connect(row):
                raise Broken(f"{row['name']} was removed and accepts")


class Unlisten(Listen):
    """Sockets are closed."""

    def prepare(self) -> None:
        super().prepare()
        for name, spec in self.specs.items():
            self.world.sockets[name] = self.world.ask("listen", name=name, **spec)

    def act(self) -> None:
        self.reply = self.world.try_to("remove", what="sockets", names=list(self.specs))

    def check(self) -> None:
        world = self.world
        known = {row["name"] for row in world.list("sockets")}
        if self.reply is not None and known & set(self.specs):
            raise Broken(f"they were removed, and are there: {known}")
        for name in self.specs:
            row = world.sockets.pop(name)
            if can_connect(row) != (name in known):
                raise Broken(f"{name} accepts: {name not in known}")
            if name in known:
                world.ask("remove", what="sockets", names=[name])
                if can_connect(row):
                    raise Broken(f"{name} was removed and accepts")
        # A killed kernel may leave the file of a socket that is gone; who opens the path again is not hindered.
        world.ask("listen", name="unix2", path=self.path)
        world.ask("remove", what="sockets", names=["unix2"])
        world.check()


class Greeting(Scene):
    """A client comes, looks around and goes."""

    def act(self) -> None:
        try:
            with Connection(client="another", autostart=False, timeout_s=0.001) as connection:
                connection.request("list", what="processes")
                connection.request("status")
        except PapaError as error:
            if error.code not in ("lost", "timeout", "unreachable"):
                raise

    def check(self) -> None:
        self.world.check()


class Upgrade(Scene):
    """The kernel executes the code on disk in its own place."""

    def prepare(self) -> None:
        self.started_at = self.world.status()["started_at"]

    def act(self) -> None:
        next(iter(self.world.told.values())).write("out", 1_600)
        self.reply = self.world.try_to("upgrade")
        self.pid = self.world.pid

    def is_done(self) -> bool:
        """The new code serves, under the same pid."""
        try:
            self.world.come_back()
            return bool(self.world.status()["started_at"] > self.started_at)
        except PapaError as error:
            # It dies while it greets.
            if error.code != "lost":
                raise
            return False

    def check(self) -> None:
        self.world.check()


class Recovery(Scene):
    """A killed kernel's successor takes over, while output comes in and a process has ended."""

    of: ClassVar[str] = "recovery"

    def prepare(self) -> None:
        world = self.world
        self.living, self.ending, self.removed = world.child(), world.child(), world.child(stdout="null")
        for child in (self.living, self.ending, self.removed):
            world.spawn(child)
        self.living.write("out", 10_000)
        self.ending.write("out", 10_000)
        wait_for(lambda: world.has_taken_all(self.ending), "its output")
        world.ask("remove", what="processes", ids=[self.removed.id])
        del world.told[self.removed.id]

    def act(self) -> None:
        os.kill(self.world.pid, signal.SIGKILL)
        self.living.write("err", 10_000)
        self.ending.write("err", 10_000)
        self.ending.hang_up()

    def check(self) -> None:
        world = self.world
        ended = wait_for(lambda: world.ask("attach", id=self.ending.id)["exit"], "its exit")
        if ended["status"] != 42 or not world.has_taken_all(self.ending):
            raise Broken(f"it ended with {ended}, {world.streams_of(self.ending)}")
        for stream in STREAMS:
            if len(world.reads(self.ending, stream)) != 10_000:
                raise Broken(f"not all of {stream} was kept")
        world.acknowledge(self.ending)
        if tracing.is_dead(self.removed.pid):
            raise Broken("who was removed was ended")
        self.removed.kill()
        world.bury(self.removed)
        wait_for(lambda: world.status()["processes"] == len(world.told), "its entry to go")
        world.check()
        world.forget(self.living)
