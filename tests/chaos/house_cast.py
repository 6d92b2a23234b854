"""Who plays in the house: its configuration, and what is wanted of each watcher."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.house import ticker

ACTOR = Path(__file__).with_name("actor.py")
COUNT = 3

ROTATION = "stdout_stream.max_bytes = 30000\nstdout_stream.backup_count = 1000\n"
STAMPS = "stdout_stream.time_format = %Y-%m-%d %H:%M:%S\n"
KEPT = "use_papa = true\n"

#: Its hook holds the whole circusd for as long as the file `hold` says.
HOOK = "hooks.before_start = holding.hold\n"
HOLDING = """
import ctypes, os

def hold(watcher, arbiter, hook_name, **kwargs):
    try:
        with open("hold") as file:
            microseconds = int(file.read())
        os.unlink("hold")
    except OSError:
        return True
    ctypes.PyDLL(None).usleep(microseconds)
    return True
"""


def actor(kind: str, *, count: int = 1, extra: str = "") -> str:
    return f"""
[watcher:{kind}]
cmd = {sys.executable} -I -S {ACTOR} {kind} {kind}-$(circus.wid)
numprocesses = {count}
copy_env = true
use_papa = true
stdout_stream.class = FileStream
stdout_stream.filename = logs/{kind}.log
{extra}
"""


def _ticker(name: str, count: int, extra: str = "") -> str:
    return ticker(name, count=count, log=f"logs/{name}.log", extra=KEPT + extra)


#: Nobody ends these but steps that say so.
QUIET = {
    "plain": _ticker("plain", COUNT),
    "turning": _ticker("turning", COUNT, ROTATION),
    "stamped": _ticker("stamped", COUNT, STAMPS + ROTATION),
    "deaf": actor("deaf", extra="graceful_timeout = 0.5\n"),
    "forking": actor("forking"),
    "flood": actor("flood", extra="stdout_stream.max_bytes = 4000000\nstdout_stream.backup_count = 1000\n"),
}

#: They come and go: of their own, by order, by an edit.
RESTLESS = {
    "brief": actor("brief", extra="backoff.first = 0.2\nbackoff.max = 0.5\nbackoff.attempts = -1\n"),
    "crew": _ticker("crew", 2),
    "held": _ticker("held", 1, HOOK),
}

#: What drops output when it must, and says so.
MAY_DROP = ("flood",)

#: The quiet ones whose processes can be killed, without anything left behind.
VICTIMS = ("plain", "turning", "stamped", "deaf", "flood")


def guest(count: int, word: str) -> str:
    return _ticker("guest", count, f"env.WORD = {word}\n")


def extra() -> str:
    return _ticker("extra", 1)


def config(*, guests: int, word: str, has_extra: bool) -> str:
    sections = [*QUIET.values(), *RESTLESS.values(), guest(guests, word), *([extra()] if has_extra else [])]
    return "[circus]\nloglevel = info\n" + "".join(sections)
