"""Commands of circusctl about notifiers: which there are and how they fare, and a test message."""

from __future__ import annotations

from circus.cli import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from circus.cli.asking import Answer, Daemon


def test_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a notifier of the configuration")
    parser.epilog = "The message is sent once, before those that wait; the status is 1 when it does not get through."


def give_test(daemon: Daemon, args: argparse.Namespace) -> Answer:
    return daemon.post("notifiers", args.name, "test", body={})


def test_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    if answer["sent"]:
        return [f"sent in {answer['took_s']:.2f} s"]
    return [f"not sent: {render.one_line(answer['error'])}"]


def has_failed(answer: Answer) -> bool:
    return not answer["sent"]


def ask_list(daemon: Daemon, _args: argparse.Namespace) -> Answer:
    return {"notifiers": daemon.get("status").get("notifiers", {})}


def list_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    """``ops: https://hooks.example/***: 12 sent, 1 waiting: HTTP 503``."""
    return [render.one_line(_line(name, each)) for name, each in answer["notifiers"].items()] or ["there is none"]


def _line(name: str, told: Answer) -> str:
    counts = [f"{told['sent']} sent"]
    counts += [f"{told[key]} {key}" for key in ("waiting", "collapsed", "dropped", "failed") if told[key]]
    trouble = f": {told['error']}" if told["error"] else ""
    return f"{name}: {told['target']}: {', '.join(counts)}{trouble}"
