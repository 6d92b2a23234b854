"""Commands of circusctl about jobs: run one now, and how their runs went."""

from __future__ import annotations

from circus.cli import render
from circus.cli.asking import ask_each, each_lines, name_argument, names_arguments
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from circus.cli.asking import Answer, Daemon

_RUN = """\
Beside the schedule, which goes on as it is; it need not be active.

  circusctl run backup
  circusctl run --wait backup && echo good"""

#: The status of a shell whose command was ended by a signal is this more than its number.
_SIGNALLED = 128
#: Of a run that nobody knows the end of.
_UNKNOWN = 1


def run_arguments(parser: argparse.ArgumentParser) -> None:
    name_argument(parser)
    parser.add_argument("--wait", action="store_true", help="until it has ended, and end with its status")
    parser.epilog = _RUN


def runs_arguments(parser: argparse.ArgumentParser) -> None:
    names_arguments(parser, what="jobs or patterns, in any case")
    parser.add_argument("-n", dest="count", metavar="N", type=int, default=10, help="the last N (default: 10)")


def give_run(daemon: Daemon, args: argparse.Namespace) -> Answer:
    return daemon.order("watchers", args.name, "run", body={"wait": args.wait})


def status_of_run(answer: Answer) -> int:
    """As a shell would end; a run that goes on is good."""
    run = answer["run"]
    if run["state"] in ("waiting", "starting", "running", "done"):
        return 0
    status = run["status"]
    if status is None:
        return _UNKNOWN
    return (_SIGNALLED - status if status < 0 else status) or _UNKNOWN


def run_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    return [render.run_text(answer["run"])]


def ask_runs(daemon: Daemon, args: argparse.Namespace) -> Answer:
    if args.count < 1:
        raise CircusError("usage", f"-n {args.count} is no number of runs", "1 is the latest one")

    def ask(name: str) -> Answer:
        answer = daemon.get("watchers", name, "runs")
        return {**answer, "runs": answer["runs"][-args.count :]}

    return ask_each(daemon, args.names, args.match, ask)


def runs_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    return each_lines(answer, _runs_lines)


def _runs_lines(answer: Answer) -> Iterable[str]:
    if answer["job"] is None:
        return [f"{answer['name']} is no job"]
    lines = [f"{render.moment(run['due'])}  {render.run_text(run)}" for run in answer["runs"]]
    due = answer["job"]["next_run"]
    return [*(lines or ["none is known"]), *([f"{render.moment(due)}  next"] if due is not None else [])]
