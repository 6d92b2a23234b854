"""Killed while a process starts."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from packages.papa.tests.instants import tracing
from packages.papa.tests.instants.scene import Scene
from packages.papa.tests.instants.world import Broken, wait_for

from papa.client.reply import Reply


class Spawn(Scene):
    """A process with both outputs and two sockets."""

    more: ClassVar[dict[str, Any]] = {"sockets": ["tcp", "unix"]}

    def prepare(self) -> None:
        self.new = self.world.child(**self.more)
        self.reply: Reply | None = None

    def act(self) -> None:
        self.reply = self.world.try_to("spawn", **self.new.spec)

    def check(self) -> None:
        world, new = self.world, self.new
        row = world.named(new.name)
        leaders = tracing.session_leaders(new.token)
        told = None if self.reply is None else (self.reply.ok["id"], self.reply.ok["pid"])
        if told is not None and (row is None or (row["id"], row["pid"]) != told):
            raise Broken(f"told {told}, there is {row}")
        if leaders != ([] if row is None else [row["pid"]]):
            raise Broken(f"there run {leaders}, the kernel knows {row}")
        again = world.spawn(new)
        if bool(again.get("existing")) != (row is not None) or (row and again["pid"] != row["pid"]):
            raise Broken(f"asked again: {again}, known was {row}")
        wait_for(lambda: tracing.session_leaders(new.token) == [new.pid], f"one process for {new.name}")
        self.check_life()
        world.check()
        world.forget(new)

    def check_life(self) -> None:
        for stream in self.new.captured:
            self.new.write(stream, 1000)
        names = {self.world.sockets[name]["fileno"] for name in self.more.get("sockets", ())}
        wait_for(lambda: self._has_descriptors(names), f"its sockets {names}")

    def _has_descriptors(self, numbers: set[int]) -> bool:
        return all(os.path.exists(f"/proc/{self.new.pid}/fd/{number}") for number in numbers)


class SpawnQuiet(Spawn):
    """A process of which nothing is captured: no pipe tells whose it is."""

    more: ClassVar[dict[str, Any]] = {"stdout": "null", "stderr": "null"}


class SpawnElsewhere(Spawn):
    """A process with a directory, a umask and a limit of its own, set in the kernel for a moment."""

    more: ClassVar[dict[str, Any]] = {"cwd": "/usr", "umask": 0o007, "rlimits": {"nofile": [99, None]}}

    def check_life(self) -> None:
        super().check_life()
        cwd = os.readlink(f"/proc/{self.new.pid}/cwd")
        with open(f"/proc/{self.new.pid}/limits") as file:
            limits = file.read()
        with open(f"/proc/{self.new.pid}/status") as file:
            status = file.read()
        if cwd != "/usr" or "Umask:\t0007" not in status or "Max open files            99 " not in limits:
            raise Broken(f"{self.new.name} is in {cwd}\n{status}\n{limits}")
        with open(f"/proc/{self.world.pid}/status") as file:
            status = file.read()
        if os.readlink(f"/proc/{self.world.pid}/cwd") != "/" or "Umask:\t0077" not in status:
            raise Broken(f"the kernel kept what was for {self.new.name}")


class SpawnForked(Spawn):
    """A process with a hard limit: the kernel forks for it."""

    more: ClassVar[dict[str, Any]] = {"rlimits": {"cpu": [1000, 2000]}}


class SpawnAsUser(Spawn):
    """A process that becomes another user, or could: the kernel forks, and no Python runs in the child."""

    more: ClassVar[dict[str, Any]] = {"uid": os.getuid(), "gid": os.getgid()}


class Short(Scene):
    """A process that is over before anybody can have noted who it is."""

    more: ClassVar[dict[str, Any]] = {}
    captured: ClassVar[str] = "capture"
    output: ClassVar[bytes] = b"here\n"

    def prepare(self) -> None:
        self.trace = f"{self.world.folder}/ran"
        self.spec = {
            "name": "short", "argv": ["/bin/sh", "-c", f'echo >>"{self.trace}"; echo here; exit 7'],
            "env": {}, "stdout": self.captured, "stderr": self.captured, **self.more,
        }  # fmt: skip

    def act(self) -> None:
        self.reply = self.world.try_to("spawn", **self.spec)

    def is_done(self) -> bool:
        return os.path.exists(self.trace)

    def check(self) -> None:
        world = self.world
        row = world.named("short")
        if self.reply is not None and (row is None or row["id"] != self.reply.ok["id"]):
            raise Broken(f"told {self.reply.ok}, there is {row}")
        again = world.ask("spawn", **self.spec, finds_dead=True)
        if bool(again.get("existing")) != (row is not None):
            raise Broken(f"asked again: {again}, known was {row}")
        ended = wait_for(lambda: world.ask("attach", id=again["id"])["exit"], "its end")
        with open(self.trace) as file:
            runs = len(file.readlines())
        os.unlink(self.trace)
        if runs != 1:
            raise Broken(f"it ran {runs} times")
        # Reaped before anybody had it: that it ended is known, and how is not.
        if ended["status"] not in ((7,) if self.reply is not None else (7, None)):
            raise Broken(f"it ended with {ended}")
        if self.output:
            data = world.connection.request("read", id=again["id"], stream="out", offset=0).body
            if data != self.output:
                raise Broken(f"it wrote {data!r}")
            world.ask("commit", acks=[[again["id"], "out", len(data)]])
        world.ask("commit", exits=[again["id"]])
        world.check()


class ShortQuiet(Short):
    """The same, and nothing of it is captured."""

    captured: ClassVar[str] = "null"
    output: ClassVar[bytes] = b""


class ShortAsUser(Short):
    """The same of one that becomes another user, or could."""

    more: ClassVar[dict[str, Any]] = SpawnAsUser.more


class ShortQuietAsUser(ShortQuiet):
    """Nor is anything of it captured."""

    more: ClassVar[dict[str, Any]] = SpawnAsUser.more
