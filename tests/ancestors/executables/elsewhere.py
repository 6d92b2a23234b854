"""Runs tests of circus 0.17.2, by name, towards a circusd of another make: its program is the first argument.

Their `start_arbiter` makes an arbiter in the test's own process, and most of what follows speaks to it by ZMQ. Here it
starts the given circusd with the same watcher; what a test asks of the arbiter itself is not there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import tornado.gen
from circus.tests import support, test_umask
from circus.tests.generic import __file__ as generic

from circus.client import AsyncCircusClient, CircusClient, make_message

#: Far more than a start takes on a busy machine.
START_S = 60

#: Where nothing else is said: the arbiter of a test stops its processes soon.
GRACE_S = 2


class Elsewhere:
    """What stands where a test has its arbiter."""

    _exclusive_running_command = None

    def __init__(self, cmd: str, streams: list[object], options: dict[str, object]) -> None:
        self.folder = tempfile.mkdtemp(dir=os.environ["SUITE_FOLDER"])
        self.testfile = os.path.join(self.folder, "testfile")
        with open(self.testfile, "w"):
            pass
        self.endpoint, self.pubsub_endpoint = (f"ipc://{self.folder}/{name}" for name in ("orders", "events"))
        umask = options.pop("arbiter_kw", {}).get("umask")
        given = {"graceful_timeout": GRACE_S, **options}
        for stream in streams:
            given["stdout_stream.filename"] = written = f"{self.folder}/written"
            threading.Thread(target=self._follow, args=(written, stream), daemon=True).start()
        config = os.path.join(self.folder, "circus.ini")
        with open(config, "w") as file:
            file.write(
                f"[circus]\nname = suite\nendpoint = {self.endpoint}\npubsub_endpoint = {self.pubsub_endpoint}\n"
                + ("" if umask is None else f"umask = {umask:o}\n")
                + f"[watcher:test]\ncmd = {sys.executable}\nargs = {generic} {cmd} {self.testfile}\ncopy_env = true\n"
                f"working_dir = {self.folder}\n" + "".join(f"{name} = {value}\n" for name, value in given.items())
            )
        environ = {**os.environ, "PAPA_RUNTIME_DIR": os.path.join(self.folder, "run")}
        with open(os.path.join(self.folder, "out"), "w") as out:
            self._process = subprocess.Popen([sys.argv[1], config], env=environ, stdout=out, stderr=out)
        deadline = time.monotonic() + START_S
        while not self._is_up():
            if time.monotonic() > deadline or self._process.poll() is not None:
                with open(os.path.join(self.folder, "out")) as out:
                    raise RuntimeError(f"circusd did not come up: {out.read()}")
        self.running = True

    def _follow(self, path: str, stream: object) -> None:
        """Into an object of the test's, which circusd cannot have, goes what it writes into a file."""
        seen = 0
        while True:
            if os.path.exists(path):
                with open(path, "rb") as file:
                    file.seek(seen)
                    if data := file.read():
                        stream({"data": data, "name": "stdout"})
                    seen += len(data)
            time.sleep(0.02)

    def _is_up(self) -> bool:
        if not os.path.exists(self.endpoint.removeprefix("ipc://")):
            time.sleep(0.02)
            return False
        return self._ask("status", name="test").get("status") == "active"

    def _ask(self, command: str, **properties: object) -> dict[str, object]:
        client = CircusClient(endpoint=self.endpoint, timeout=START_S)
        try:
            return client.call(make_message(command, **properties))
        finally:
            client.stop()

    def stop(self) -> None:
        if self.running:
            self.running = False
            self._ask("quit", waiting=True)
            self._process.wait(START_S)


@tornado.gen.coroutine
def start_arbiter(test, cmd="circus.tests.support.run_process", stdout_stream=None, **options):
    for name in ("stderr_stream", "stats", "debug"):  # of the one in the test's process
        options.pop(name, None)
    test.arbiter = Elsewhere(cmd, [stdout_stream["stream"]] if stdout_stream else [], options)
    test.test_file = test.arbiter.testfile
    test.arbiters.append(test.arbiter)


@tornado.gen.coroutine
def stop_arbiter(test):
    test.arbiter.stop()


class Result(unittest.TextTestResult):
    """A test that has asked no circusd has not been run."""

    def addSuccess(self, test):
        if getattr(test, "arbiter", None) is None:
            self.addFailure(test, (AssertionError, AssertionError("no circusd was asked"), None))
        else:
            super().addSuccess(test)


if __name__ == "__main__":
    support.TestCircus.start_arbiter = start_arbiter
    support.TestCircus.stop_arbiter = stop_arbiter
    for waiting in (support.async_poll_for, test_umask.read_from_stream):
        waiting.__wrapped__.__defaults__ = (START_S,)  # theirs are 5 s
    context, endpoint, _, *ssh = AsyncCircusClient.__init__.__defaults__
    AsyncCircusClient.__init__.__defaults__ = (context, endpoint, float(START_S), *ssh)  # theirs is 5 s, too
    runner = unittest.TextTestRunner(resultclass=Result, verbosity=2)
    unittest.main(module=None, argv=[sys.argv[0], *sys.argv[2:]], testRunner=runner)
