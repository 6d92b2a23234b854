"""Killed while something ends or is taken away."""

from __future__ import annotations

import os
import signal

from packages.papa.tests.instants import tracing
from packages.papa.tests.instants.scene import Scene
from packages.papa.tests.instants.world import STREAMS, Broken, wait_for


class Remove(Scene):
    """A process that runs is removed: from then on nobody reads what it writes, and it runs on."""

    def prepare(self) -> None:
        self.new = self.world.child()
        self.world.spawn(self.new)
        self.new.write("out", 30_000)
        wait_for(lambda: self.world.has_taken_all(self.new), "its output")

    def act(self) -> None:
        self.reply = self.world.try_to("remove", what="processes", ids=[self.new.id])

    def check(self) -> None:
        world, new = self.world, self.new
        row = world.named(new.name)
        if row is not None:
            if self.reply is not None:
                raise Broken(f"it was removed, and is there: {row}")
            world.check()
            world.ask("remove", what="processes", ids=[new.id])
        del world.told[new.id]
        if tracing.is_dead(new.pid):
            raise Broken("it was ended")
        # Somebody still takes what it writes.
        new.write("out", 200_000)
        new.hang_up()
        wait_for(lambda: tracing.is_dead(new.pid), "its end by itself")
        world.bury(new)
        wait_for(lambda: world.status()["processes"] == len(world.told), "its entry to go")
        world.check()


class RemoveDead(Scene):
    """A process that has ended is removed, with output that nobody has read."""

    def prepare(self) -> None:
        self.new = self.world.child()
        self.world.spawn(self.new)
        self.new.write("out", 30_000)
        wait_for(lambda: self.world.has_taken_all(self.new), "its output")
        self.new.hang_up()
        wait_for(lambda: self.world.ask("attach", id=self.new.id)["exit"], "its end")

    def act(self) -> None:
        self.reply = self.world.try_to("remove", what="processes", ids=[self.new.id])

    def check(self) -> None:
        world, new = self.world, self.new
        row = world.named(new.name)
        if row is not None:
            if self.reply is not None or len(world.reads(new, "out")) != 30_000 or row["exit"]["status"] != 42:
                raise Broken(f"it is there: {row}, reply {self.reply}")
            world.ask("remove", what="processes", ids=[new.id])
        del world.told[new.id]
        world.bury(new)
        world.check()


class Exit(Scene):
    """A process ends."""

    def prepare(self) -> None:
        self.new = self.world.child()
        self.world.spawn(self.new)
        for stream in STREAMS:
            self.new.write(stream, 3_000)
        wait_for(lambda: self.world.has_taken_all(self.new), "its output")

    def act(self) -> None:
        self.new.write("out", 20_000)
        self.new.hang_up()

    def is_done(self) -> bool:
        return tracing.state_of(self.new.pid) == "X"

    def check(self) -> None:
        world, new = self.world, self.new
        ended = wait_for(lambda: world.ask("attach", id=new.id)["exit"], "its exit")
        if ended["status"] != 42:
            raise Broken(f"it ended with {ended}")
        if not world.has_taken_all(new) or len(world.reads(new, "out")) != 23_000:
            raise Broken(f"its output is {world.streams_of(new)}")
        world.acknowledge(new)
        world.check()


class Killed(Exit):
    """A process is killed by a signal, with output that is not read yet."""

    def act(self) -> None:
        os.killpg(self.new.pid, signal.SIGKILL)

    def check(self) -> None:
        world, new = self.world, self.new
        ended = wait_for(lambda: world.ask("attach", id=new.id)["exit"], "its exit")
        if ended["status"] != -signal.SIGKILL:
            raise Broken(f"it ended with {ended}")
        world.acknowledge(new)
        world.check()
