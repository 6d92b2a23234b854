"""Whether a drill may begin, and what it will do, in words: pure.

Three answers: what forbids it (*refusals*; ``--force`` overrules those that may be overruled), what one should know
(*cautions*), and its *steps*. Nothing is done before all of it was shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Names in one line.
MAX_NAMES = 6


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for."""

    kernel: bool = False
    rounds: int = 1
    connections: int = 1
    http: str = ""
    patience_s: float = 60.0
    is_forced: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not. ``can_force``: whoever knows better may do it all the same."""

    why: str
    hint: str
    can_force: bool = False


def busy(status: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is under way and would be cut in two by a kill."""
    found = [f"{each['name']} is {each['state']}" for each in status["watchers"] if each["state"] not in _AT_REST]
    found += [f"{each['name']} is being reloaded" for each in status["watchers"] if each.get("reload")]
    return found + [
        f"operation {each['id']} ({each['what']}) runs" for each in operations if each["state"] == "running"
    ]


_AT_REST = ("active", "stopped")


def refusals(wish: Wish, pid: int, kernel: Mapping[str, Any], busy: Sequence[str]) -> list[Refusal]:
    found = []
    if pid == 1:
        found.append(
            Refusal("circusd is the first process of its container, which cannot be killed from inside",
                    "start the container by circusd's own command, whose warden is its first process")
        )  # fmt: skip
    if busy:
        found.append(Refusal(f"something is under way: {names_of(busy)}", "wait for its end, or mend it", True))
    if not wish.kernel:
        return found
    if kernel["tier"] == "portable":
        found.append(
            Refusal("papa runs in its portable tier, which survives no kill", "leave out --kernel; see `papa status`")
        )
        return found
    if not kernel["holder"]:
        found.append(
            Refusal("papa has no holder that would start it again", "a replacement comes; see `papa status`", True)
        )
    if kernel["not_covered"]:
        names = names_of(kernel.get("not_covered_names", []), kernel["not_covered"])
        hint = "see `papa status` for the reasons, and mend them"
        found.append(Refusal(f"papa does not cover all that it holds: {names} would be lost", hint, True))
    return found


def cautions(wish: Wish, *, keeper: str, sockets: int, others: int, uncompared: int) -> list[str]:
    told = []
    if not keeper:
        told.append("nobody watches over circusd: the drill starts it again as it was started, and leaves it running")
    if sockets and wish.connections:
        told.append("a server that serves one connection at a time waits for those that are held (--connections 0)")
    if wish.kernel and others:
        told.append(f"papa hosts {others} processes of others, too: they are counted, but none of theirs is asked")
    if uncompared:
        told.append(f"the bytes of {uncompared} streams that go into no log file are counted by papa, not compared")
    return told


def steps(wish: Wish, *, pid: int, kernel_pid: int, keeper: str, sockets: int) -> list[str]:
    told = ["note all processes and what they have started; read along what they write"]
    if sockets:
        visits = f"GET {wish.http}" if wish.http else "say nothing"
        held = "a connection" if wish.connections == 1 else f"{wish.connections} connections"
        told.append(f"hold {held} to each socket; connect anew 20 times a second, and {visits}")
    times = f", {wish.rounds} times" if wish.rounds > 1 else ""
    who = keeper or "the drill"
    told.append(f"kill -9 {pid} (circusd){times}; {who} starts it again")
    if wish.kernel:
        told.append(f"kill -9 {kernel_pid} (papa){times}; its holder starts it again")
        told.append(f"papa upgrade{times}: it executes itself anew")
    told.append("wait until every process is held again and its output is in its file; compare; say what was affected")
    return told


def names_of(names: Sequence[str], count: int | None = None) -> str:
    """The first of them, and how many there are besides."""
    shown = list(names[:MAX_NAMES])
    rest = max(len(names), count or 0) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")
