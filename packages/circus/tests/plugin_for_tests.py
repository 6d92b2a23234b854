"""A plugin that tells what happens to it, a line of JSON each."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from typing import Any

from circus.plugins import CircusPlugin, base


class Telling(CircusPlugin):
    name = "telling"
    lingers = False

    def tell(self, what: str, *more: Any) -> None:
        print(json.dumps([what, *more]), flush=True)

    def handle_init(self) -> None:
        self.tell("init", dict(self.config), self.check_delay)
        self.loop.call_later(0, self.tell, "later")

    async def wait(self) -> None:
        self.tell("async")

    def handle_recv(self, data: tuple[bytes, bytes]) -> None:
        watcher, event, message = self.split_data(data)
        if event == "raise":
            raise RuntimeError("as asked")
        if event == "hang":
            base.LEAVE_S = 1
            self.tell("hanging")
            time.sleep(1000)
        if event == "thread":
            self.lingers = True
            threading.Thread(target=time.sleep, args=(1000,)).start()
        if event == "call":
            self.loop.add_callback(self.wait)
            self.cast("stop", name="nobody")
            self.tell("called", self.call("numwatchers")["numwatchers"])
        self.tell("heard", watcher, event, self.load_message(message))

    def handle_gap(self, missed: int | None) -> None:
        self.tell("gap", missed)

    def handle_stop(self) -> None:
        if self.lingers:
            base.LEAVE_S = 1
        self.tell("stop", signal.getitimer(signal.ITIMER_REAL)[0])
        raise RuntimeError("at the end")


class Failing(CircusPlugin):
    def handle_init(self) -> None:
        raise OSError("no luck")


class Unmade(CircusPlugin):
    def __init__(self, *args: Any, **config: Any) -> None:
        raise ValueError("wrong option")


class NoPlugin:
    def __init__(self, *args: Any, **config: Any) -> None:
        sys.stdout.write("")
