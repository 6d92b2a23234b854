"""Killed while output comes in, or is acknowledged."""

from __future__ import annotations

import os

from packages.papa.tests.instants.scene import Scene
from packages.papa.tests.instants.world import STREAMS, Broken, wait_for

from papa.client.reply import Reply
from papa.core import journal


class Output(Scene):
    """Output arrives at both streams."""

    def prepare(self) -> None:
        self.new = self.world.child()
        self.world.spawn(self.new)

    def act(self) -> None:
        for stream, size in (("out", 300_000), ("err", 5_000), ("out", 30_000), ("err", 100_000)):
            self.new.write(stream, size)

    def is_done(self) -> bool:
        sizes = [os.stat(self.path(stream)).st_size for stream in STREAMS]
        return sizes == [self.new.written[stream] for stream in STREAMS]

    def path(self, stream: str) -> str:
        return f"{self.world.instance.directory}/output/{self.new.id}/{stream}"

    def check(self) -> None:
        self.world.check()
        self.check_stamps()
        self.world.forget(self.new)

    def check_stamps(self) -> None:
        for stream in STREAMS:
            ok = self.world.ask("read", id=self.new.id, stream=stream, offset=0)
            offsets = [stamp[0] for stamp in ok["stamps"]]
            if ok["head"] > ok["low"] and (offsets != sorted(set(offsets)) or offsets[0] > ok["offset"]):
                raise Broken(f"{stream} from {ok['offset']} is dated at {offsets}")


class Overflow(Output):
    """Output arrives at the bound with nobody to read it: the oldest goes, and its room is given back."""

    def prepare(self) -> None:
        self.new = self.world.child(bound=65_536, overflow="drop-oldest")
        self.world.spawn(self.new)
        self.new.write("out", 60_000)
        wait_for(lambda: self.world.has_taken_all(self.new), "the first bytes")

    def act(self) -> None:
        for stream, size in (("out", 50_000), ("err", 10_000), ("out", 50_000)):
            self.new.write(stream, size)

    def check(self) -> None:
        super_new = self.new
        self.world.check()
        self.check_stamps()
        for stream, facts in self.world.streams_of(super_new).items():
            if facts["dropped"] != facts["low"] - facts["acked"]:
                raise Broken(f"{stream} does not say what was dropped: {facts}")
        self.check_room()
        self.world.forget(super_new)

    def check_room(self) -> None:
        """Everything acknowledged takes a page at most."""
        acks = [[self.new.id, stream, facts["head"]] for stream, facts in self.world.streams_of(self.new).items()]
        self.world.ask("attach", id=self.new.id, owner="instants")
        self.world.ask("commit", acks=acks)
        for name in (*STREAMS, "index"):
            if (taken := os.stat(self.path(name)).st_blocks * 512) > 2 * 4096:
                raise Broken(f"{name} takes {taken} bytes, and nothing of it is wanted")


class Refill(Overflow):
    """A process waits for its reader, which acknowledges: the room is given back and the pipe is read on."""

    def prepare(self) -> None:
        self.new = self.world.child(bound=65_536, overflow="block", stall_s=30)
        self.world.spawn(self.new)
        self.world.ask("attach", id=self.new.id, owner="instants")
        self.new.write("out", 100_000)
        wait_for(lambda: self.world.streams_of(self.new)["out"]["head"] >= 60_000, "the bound")
        self.acked = self.world.streams_of(self.new)["out"]["head"]
        self.reply: Reply | None = None

    def act(self) -> None:
        self.reply = self.world.try_to("commit", acks=[[self.new.id, "out", self.acked]])

    def is_done(self) -> bool:
        return True

    def check(self) -> None:
        facts = self.world.streams_of(self.new)["out"]
        if facts["acked"] != self.acked and (self.reply is not None or facts["acked"]):
            raise Broken(f"acknowledged was {self.acked}, known is {facts}")
        super().check()


class Commit(Scene):
    """Acknowledgements, the exit of a process and values, in one step."""

    def prepare(self) -> None:
        world = self.world
        self.living, self.dead = world.child(), world.child()
        for child in (self.living, self.dead):
            world.spawn(child)
            world.ask("attach", id=child.id, owner="instants")
            for stream in STREAMS:
                child.write(stream, 20_000)
        for child in (self.living, self.dead):
            wait_for(lambda child=child: world.has_taken_all(child), f"all output of {child.name}")
        self.dead.hang_up()
        wait_for(lambda: world.ask("attach", id=self.dead.id)["exit"], f"the end of {self.dead.name}")
        world.set_value("old", "one")

    def act(self) -> None:
        acks = [[self.living.id, "out", 10_000], [self.dead.id, "out", 20_000], [self.dead.id, "err", 20_000]]
        self.reply = self.world.try_to(
            "commit", acks=acks, exits=[self.dead.id], values={"new": "two", "old": None, "kept": "changed"}
        )

    def check(self) -> None:
        world = self.world
        values = {row["name"]: row["value"] for row in world.list("values")}
        parts = [
            values.get("new") == "two",
            "old" not in values,
            values["kept"] == "changed",
            world.streams_of(self.living)["out"]["acked"] == 10_000,
            world.streams_of(self.living)["out"]["low"] == 10_000,
            world.named(self.dead.name) is None,
        ]
        if len(set(parts)) > 1 or (self.reply is not None and not parts[0]):
            raise Broken(f"a commit has happened in part: {parts}, reply {self.reply}")
        if not parts[0]:
            known = world.ask("attach", id=self.dead.id)
            if known["exit"]["status"] != 42 or len(world.reads(self.dead, "out")) != 20_000:
                raise Broken(f"what was not committed is not as it was: {known}")
            world.acknowledge(self.dead)
        else:
            world.told.pop(self.dead.id)
            world.bury(self.dead)
        world.ask("commit", values={"new": None, "old": None, "kept": world.values["kept"]})
        del world.values["old"]
        world.check()
        world.forget(self.living)


class Compaction(Scene):
    """The journal has grown and is replaced."""

    size = 60_000

    def prepare(self) -> None:
        world = self.world
        world.values["large"] = "a" * self.size
        while world.status()["journal_bytes"] + 2 * self.size < journal.COMPACT_ABOVE:
            world.ask("set", name="large", value="a" * self.size)
        while world.status()["journal_bytes"] + self.size < journal.COMPACT_ABOVE:
            world.ask("set", name="large", value="a" * self.size)
        self.journal_bytes = world.status()["journal_bytes"]

    def act(self) -> None:
        self.reply = self.world.try_to("set", name="large", value="b" * self.size)

    def check(self) -> None:
        world = self.world
        value = world.ask("get", name="large")["value"]
        if set(value or "") not in ({"a"}, {"b"}) or len(value) != self.size:
            raise Broken(f"the value is {len(value)} bytes of {set(value)}")
        if self.reply is not None and value[0] != "b":
            raise Broken("what was set is not there")
        world.set_value("large", value)
        # The digests in the records are worth nothing without the secret that the journal has.
        known = next(iter(world.told.values()))
        if not world.ask("spawn", **known.spec).get("existing"):
            raise Broken("the secret has changed")
        world.check()
        world.ask("set", name="large", value=None)
        del world.values["large"]


class Attach(Scene):
    """The owner comes and is handed the files."""

    def prepare(self) -> None:
        self.new = self.world.child()
        self.world.spawn(self.new)
        self.new.write("out", 1_000)
        wait_for(lambda: self.world.has_taken_all(self.new), "its output")
        self.reply: Reply | None = None

    def act(self) -> None:
        self.reply = self.world.try_to("attach", id=self.new.id, owner="instants", fds=True)

    def check(self) -> None:
        if self.reply is not None:
            if os.pread(self.reply.fds["out"], 4096, 0) != self.world.reads(self.new, "out"):
                raise Broken("the file that was handed over is another one")
            self.reply.close_fds()
        self.world.check()
        self.world.forget(self.new)
