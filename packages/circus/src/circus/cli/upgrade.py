"""`circusctl upgrade`: another version takes circusd's place; whichever serves then tells what has become of it."""

from __future__ import annotations

import os
import time

from circus.errors import AWAY, CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from circus.cli.asking import Answer, Daemon

#: A new circusd that takes over thousands of processes answers after seconds; one that does not within this, never.
PATIENCE_S = 120.0

#: Of one question how it stands; the next one follows at once.
WAIT_S = 2

#: Between two attempts, while nobody answers.
RETRY_S = 0.1

_EPILOG = """\
  circusctl upgrade --check                   could what is installed now take over?
  circusctl upgrade                           the same environment, whose files pip has replaced
  circusctl upgrade --to /srv/circus-2.1      the circusd of another virtual environment"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="only try; nothing is changed")
    parser.add_argument("--to", metavar="PATH", default="", help="a virtual environment, or a Python, that has circus")
    parser.add_argument(
        "--patience", metavar="S", type=float, default=30.0, help="how long to wait for orders under way (30)"
    )
    parser.add_argument("--no-wait", dest="wait", action="store_false", help="return when it has begun")
    parser.epilog = _EPILOG


def run(daemon: Daemon, args: argparse.Namespace) -> Answer:
    to = os.path.abspath(args.to) if args.to else ""
    begun = daemon.post("upgrade", body={"check": args.check, "to": to, "patience": args.patience})
    if args.check or not args.wait:
        return begun
    ended = _end(daemon, begun)
    return {**begun, "waited": True, "blind_s": ended.get("blind_s")}


def lines(answer: Answer, _args: argparse.Namespace) -> list[str]:
    change = f"{answer['version']} to {answer['to_version']} (Python {answer['python']}, {answer['path']})"
    if answer["check"]:
        return [f"can be upgraded from {change}"]
    if not answer["waited"]:
        return [f"is being upgraded from {change}", f"operation {answer['operation']}"]
    blind_s = answer["blind_s"]
    return [f"upgraded from {change}", *([f"clients waited {blind_s:.2f} s"] if blind_s is not None else [])]


def _end(daemon: Daemon, begun: Answer) -> Answer:
    """Raises: CircusError, when it has failed, or nobody answers."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            told = daemon.get("operations", begun["operation"], query={"wait": str(WAIT_S)})
        except CircusError as error:
            if error.code == "not-found":
                return {}  # a successor that knows nothing of it
            if error.code not in AWAY or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)
            continue
        if (why := told["error"]) is not None:
            raise CircusError(why["code"], why["message"], why["hint"])
        if told["state"] != "running":
            result: Answer = told["result"] or {}
            return result
