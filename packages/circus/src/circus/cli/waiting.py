"""Orders that are waited for: what they wait for is shown when it takes long, and who gives up is told their ids.

The idea: an order is asked for as ever, in one exchange that ends when it has ended. It has a tag besides, under which
circusd tells meanwhile how far it is; nobody asks for that unless it takes long, is interrupted or runs out of time.
"""

from __future__ import annotations

import os
import select
import sys
import time

from circus.cli import operations, terminal
from circus.control.client import target
from circus.errors import AWAY, CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from circus.cli.asking import Answer, Daemon, Orders
    from circus.cli.progress import Bar
    from circus.control.client import Pending

#: Most orders have ended by then, and nothing is shown of them.
SOON_S = 0.5

#: What a circusd says that was started before an upgrade: it takes an order without one.
UNKNOWN_TAG = "unknown field `tag`"

#: Between two drawings of what goes on, at most: the time that has passed is in it.
DRAW_S = 1.0

#: Orders of one command line; each has a connection, of which circusd has 256 for all.
MAX_ORDERS = 100


_UNTOLD = "stopped waiting; an order that circusd has taken goes on"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; the text says what goes on."""


def give(daemon: Daemon, orders: Orders, *, is_bounded: bool) -> dict[str, Answer]:
    """Their answers, by their keys.

    Raises: CircusError, of the first one that fails, when all have ended; Interrupted.
    """
    if len(orders) > MAX_ORDERS:
        raise CircusError("limit", f"{len(orders)} orders in one command", f"name at most {MAX_ORDERS} at a time")
    taken: dict[str, _Taken] = {}
    tags = {key: f"ctl-{os.getpid()}-{time.time_ns()}-{number}" for number, key in enumerate(orders)}
    try:
        for key, (path, body) in orders.items():
            tag = tags[key]
            try:
                pending = daemon.client.begin(target(*path), {**body, "tag": tag}, is_bounded=is_bounded)
            except CircusError as error:
                raise _behind(error, daemon, len(taken), len(orders)) from None
            taken[key] = _Taken(tag, pending)
        return _wait(daemon, taken)
    except KeyboardInterrupt:
        raise _interrupted(daemon, list(tags.values())) from None
    except CircusError as error:
        if error.code != "bad-request" or UNKNOWN_TAG not in error.message:
            raise
        return {key: daemon.post(*path, body=body) for key, (path, body) in orders.items()}
    finally:
        for each in taken.values():
            each.pending.close()


class _Taken:
    """An order that circusd has, or has refused."""

    def __init__(self, tag: str, pending: Pending) -> None:
        self.tag = tag
        self.pending = pending


def _behind(error: CircusError, daemon: Daemon, given: int, count: int) -> CircusError:
    """An order that could not be given, behind others that were."""
    if not given:
        return error
    told = f"{given} of {count} orders were given before it: `{daemon.program} operations` shows them"
    return CircusError(error.code, error.message, f"{error.hint}; {told}")


def _wait(daemon: Daemon, taken: dict[str, _Taken]) -> dict[str, Answer]:
    answers: dict[str, Answer] = {}
    failures: list[tuple[str, CircusError]] = []
    waited = dict(taken)
    bar: Bar | None = None
    shown_from = time.monotonic() + SOON_S if _is_shown() else None
    try:
        while waited:
            if bar is None and shown_from is not None and time.monotonic() >= shown_from:
                # Imported for what takes long, at a terminal.
                from circus.cli.progress import Bar

                bar = Bar(daemon, [each.tag for each in waited.values()])
            for key in _answered(waited, bar, shown_from):
                each = waited.pop(key)
                try:
                    answers[key] = each.pending.finish()
                except CircusError as error:
                    failures.append((each.tag, error))
    finally:
        if bar is not None:
            bar.close()
    if failures:
        tag, first = failures[0]
        raise _explained(daemon, tag, first, None if bar is None else bar.known.get(tag))
    return {key: answers[key] for key in taken}


def _is_shown() -> bool:
    return terminal.is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"


def _answered(waited: dict[str, _Taken], bar: Bar | None, shown_from: float | None) -> list[str]:
    """Those that need not be waited for any more: there is an answer, or no time."""
    now = time.monotonic()
    done = [key for key, each in waited.items() if each.pending.has_answer or _is_late(each.pending, now)]
    if done:
        return done
    until = [each.pending.deadline for each in waited.values() if each.pending.deadline is not None]
    if bar is not None:
        until.append(now + DRAW_S)
    elif shown_from is not None:
        until.append(shown_from)
    by_descriptor = {each.pending.fileno(): key for key, each in waited.items()}
    heard = [] if bar is None else bar.descriptors
    timeout = max(0.0, min(until) - now) if until else None
    ready, _, _ = select.select([*by_descriptor, *heard], [], [], timeout)
    if bar is not None:
        bar.hear(ready)
    return [by_descriptor[descriptor] for descriptor in ready if descriptor in by_descriptor]


def _is_late(pending: Pending, now: float) -> bool:
    return pending.deadline is not None and now >= pending.deadline


def _interrupted(daemon: Daemon, tags: list[str]) -> Interrupted:
    """Says under which ids they go on, where circusd tells."""
    found = [known for known in _ask_each(daemon, tags) if known["state"] == "running"]
    follow = f"{daemon.program} operations"
    told = [f"{operations.what(known)} goes on: `{follow} {known['id']} --follow`" for known in found]
    return Interrupted("\n  ".join(["stopped waiting", *told]) if told else _UNTOLD)


def _explained(daemon: Daemon, tag: str, error: CircusError, known: Answer | None) -> CircusError:
    """A failure of waiting, with what is known of the order itself. Those of the order say it themselves."""
    if error.code == "timeout" and (known_now := _ask_each(daemon, [tag])) and known_now[0]["progress"] is not None:
        (found,) = known_now
        within = f"{operations.what(found)} has not ended within {daemon.client.timeout_s:g} s"
        hint = f"it goes on: `{daemon.program} operations {found['id']} --follow`"
        return CircusError("timeout", f"Timed out. {within}: {operations.waits_for(found['progress'])}", hint)
    if error.code in ("unreachable", "unavailable") and known is not None:
        hint = f"the next circusd takes up what was decided; `{daemon.program} status` shows the state"
        return CircusError(error.code, f"{error.message}; last known: {operations.waits_for(known)}", hint)
    return error


def _ask_each(daemon: Daemon, tags: list[str]) -> list[Answer]:
    """What circusd knows of them, where it tells; one that hangs is waited for once, not once for each."""
    found = []
    for tag in tags:
        try:
            found.append(daemon.get("operations", tag))
        except CircusError as error:
            if error.code in AWAY:
                break
    return found
