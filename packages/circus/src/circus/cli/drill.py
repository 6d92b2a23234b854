"""`circusctl drill`: kills circusd under the running services, if one says yes, and tells what they noticed.

First what will be done is shown; then it is asked; then it is done. The measuring is `circus.drill`.
"""

from __future__ import annotations

import sys

from circus.cli.printing import write
from circus.cli.render import one_line
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator
    from typing import Any

    from circus.cli.asking import Answer, Daemon
    from circus.drill.premises import Refusal, Wish
    from circus.drill.scene import Scene

_EPILOG = """\
  circusctl drill --dry-run        what would be done
  circusctl drill                  asks, then kills circusd once
  circusctl drill --yes --kernel   papa is killed, too, and executes itself anew

Exit status: 0 the promise held, 1 it did not or the drill failed, 2 not confirmed or usage, 3 refused as unsafe."""

MAX_ROUNDS = 100

#: Problems that are listed; --json has all.
_MAX_PROBLEMS = 20

#: Of a drill without --timeout: how long each return may take.
_PATIENCE_S = 60.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask; needed where nobody sits at a terminal")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--kernel", action="store_true", help="kill papa, too, and let it execute itself anew")
    parser.add_argument("--rounds", metavar="N", type=int, default=1, help="kill N times in a row (default: 1)")
    parser.add_argument(
        "--connections", metavar="N", type=int, default=1, help="held at each socket (default: 1; 0: visit none)"
    )
    parser.add_argument("--http", metavar="PATH", default="", help="ask each TCP or unix socket for PATH by HTTP")
    parser.add_argument("--force", action="store_true", help="even if something is under way or not covered")
    parser.epilog = _EPILOG


def run(daemon: Daemon, args: argparse.Namespace) -> Iterator[Answer]:
    # Imported for this command alone.
    from circus.drill import course, scene
    from circus.drill.kernel import Kernel

    if not getattr(daemon, "is_here", False):
        raise CircusError("conflict", "circusd is on another host, or another program", "run the drill on its host")
    wish = _wish(args)
    found, kernel = scene.look(daemon.get, daemon.client.path, Kernel)
    try:
        with kernel:
            refusals = _refusals(daemon, found, wish)
            plan = _plan(found, wish, [each.why for each in refusals])
            is_shown = not args.json or args.dry_run
            if is_shown:
                yield plan
            if args.dry_run:
                return
            _obey(refusals, wish)
            if wish.kernel:
                kernel.reexecute(only_check=True)
            if _confirm(args, plan):
                _obey(_refusals(daemon, found, wish), wish)  # it may have taken somebody an hour to say yes
            say = _teller(args)
            result = course.Course(found, kernel, wish, say).run()
            yield {"plan": plan["plan"], "result": _result(result)}
    finally:
        found.start.close()


def _refusals(daemon: Daemon, found: Scene, wish: Wish) -> list[Refusal]:
    """As it is now. The next circusd is tried as before an upgrade: it must start, and be as this one."""
    from circus.drill import premises

    busy = premises.busy(daemon.get("status"), daemon.get("operations")["operations"])
    refusals = premises.refusals(wish, found.pid, found.kernel, busy)
    try:
        daemon.post("upgrade", body={"check": True})
    except CircusError as error:
        if error.code != "conflict":
            raise
        hint = error.hint or "see `circusctl upgrade --check`"
        refusals.append(premises.Refusal(f"the next circusd would not be as this one: {error.message}", hint))
    return refusals


def _obey(refusals: list[Refusal], wish: Wish) -> None:
    """Raises: CircusError conflict, if there is one that is not overruled."""
    for each in refusals:
        if not (wish.is_forced and each.can_force):
            also = " (or --force)" if each.can_force else ""
            raise CircusError("conflict", f"no drill: {each.why}", f"{each.hint}{also}; nothing was done")


def _wish(args: argparse.Namespace) -> Wish:
    from circus.drill import premises, visitors

    if not 1 <= args.rounds <= MAX_ROUNDS:
        raise CircusError("usage", f"--rounds {args.rounds}: must be from 1 to {MAX_ROUNDS}")
    if not 0 <= args.connections <= visitors.MAX_HELD:
        raise CircusError("usage", f"--connections {args.connections}: must be from 0 to {visitors.MAX_HELD}")
    if args.http and (not args.http.startswith("/") or not args.http.isprintable() or " " in args.http):
        raise CircusError("usage", f"--http {args.http!r} is no path", "write --http /")
    return premises.Wish(
        kernel=args.kernel,
        rounds=args.rounds,
        connections=args.connections,
        http=args.http,
        patience_s=args.timeout or _PATIENCE_S,
        is_forced=args.force,
    )


def _confirm(args: argparse.Namespace, plan: Answer) -> bool:
    """Whether somebody had to be asked. Raises: CircusError usage, unless the answer was yes."""
    if args.yes:
        return False
    try:
        is_asked = sys.stdin is not None and sys.stdin.isatty()
    except ValueError:
        is_asked = False
    if not is_asked:
        raise CircusError("usage", "nothing was done: nobody is there to be asked", "--yes says it beforehand")
    if args.json:
        write(sys.stderr, "".join(f"{line}\n" for line in lines(plan, args)))
    write(sys.stderr, "Type yes to begin: ")
    try:
        said = sys.stdin.readline().strip()
    except KeyboardInterrupt:
        said = ""
    if said != "yes":
        raise CircusError("usage", "nothing was done: it was not confirmed", "type the whole word yes, or give --yes")
    return True


def _teller(args: argparse.Namespace) -> Any:
    def say(text: str) -> None:
        if not args.json:
            write(sys.stderr, f"... {text}\n")

    return say


# The plan ---------------------------------------------------------------------------------------------------


def _plan(found: Scene, wish: Wish, refused: list[str]) -> Answer:
    from circus.drill import premises

    sockets = found.sockets if wish.connections or wish.http else []
    uncompared = sum(map(len, found.elsewhere.values()))
    return {
        "plan": {
            "circusd": {"name": found.name, "pid": found.pid, "uid": found.start.uid, "keeper": found.keeper},
            "papa": {
                "pid": found.kernel["pid"],
                "tier": found.kernel["tier"],
                "holder": found.kernel["holder"],
                "not_covered": found.kernel["not_covered"],
            },
            "processes": [{"name": each.name, "pid": each.pid} for each in found.processes],
            "others": len(found.others),
            "sockets": [each["name"] for each in sockets],
            "logs": [{"path": each.path, "streams": len(each.streams)} for each in found.logs],
            "elsewhere": {where: len(streams) for where, streams in sorted(found.elsewhere.items())},
            "steps": premises.steps(
                wish,
                pid=found.pid,
                kernel_pid=found.kernel["pid"],
                keeper=found.keeper,
                sockets=len(sockets),
            ),
            "cautions": premises.cautions(
                wish,
                keeper=found.keeper,
                sockets=len(sockets),
                others=len(found.others),
                uncompared=uncompared,
            ),
            "refused": refused,
            "patience_s": wish.patience_s,
        }
    }


def lines(answer: Answer, args: argparse.Namespace) -> Iterable[str]:
    if "plan" in answer and "result" not in answer:
        return map(_indented, _plan_lines(answer["plan"]))
    return [*map(_indented, _result_lines(answer["result"])), "", *_verdict(answer["result"], args)]


def _indented(line: str) -> str:
    body = line.lstrip(" ")
    return " " * (len(line) - len(body)) + one_line(body)


def _plan_lines(plan: Answer) -> Iterator[str]:
    from circus.drill.premises import names_of

    circusd, papa = plan["circusd"], plan["papa"]
    yield f"circusd    {circusd['name']}, pid {circusd['pid']}, uid {circusd['uid']}, watched over by" + (
        f" {circusd['keeper'] or 'nobody'}"
    )
    covered = f"{papa['not_covered']} not covered" if papa["not_covered"] else "everything covered"
    yield f"papa       pid {papa['pid']}, tier {papa['tier']}, holder {papa['holder'] or 'none'}, {covered}"
    names = [each["name"] for each in plan["processes"]]
    yield f"processes  {len(names)}: {names_of(names)}" if names else "processes  none"
    if plan["sockets"]:
        yield f"sockets    {len(plan['sockets'])}: {names_of(plan['sockets'])}"
    if plan["logs"]:
        yield f"log files  {len(plan['logs'])}: {names_of([each['path'] for each in plan['logs']])}"
    yield ""
    yield "What will be done:"
    for number, step in enumerate(plan["steps"], start=1):
        yield f"  {number}. {step}"
    yield f"  Each return is waited for, {plan['patience_s']:g} s at most."
    for caution in plan["cautions"]:
        yield f"note: {caution}"
    for why in plan["refused"]:
        yield f"unsafe: {why}"


# The result -------------------------------------------------------------------------------------------------


def _result(result: Any) -> Answer:
    import dataclasses

    return {**dataclasses.asdict(result), "problems": result.problems, "held": result.has_held}


def _result_lines(result: Answer) -> Iterator[str]:
    fates, outputs = result["fates"], result["outputs"]
    yield ""
    yield f"processes affected    {len(fates['affected'])} of {fates['total']}"
    for gone in fates["ended"]:
        yield f"  {gone['name']} (pid {gone['pid']}) {gone['why']}"
    if result["descendants"]:
        yield f"  and of {result['descendants']} that they had started, {result['descendants_gone']} have ended since"
    connections = result["connections"]
    if connections:
        held, dropped = (sum(each[key] for each in connections) for key in ("held", "dropped"))
        tried, failed = (sum(each[key] for each in connections) for key in ("tried", "failed"))
        closed = sum(each["closed"] for each in connections)
        yield f"connections dropped   {dropped} of {held} held; of {tried} new ones {failed} failed"
        if closed:
            yield f"  {closed} were closed in good order by servers that run on"
    else:
        yield "connections dropped   not looked at: no socket is held"
    compared = [each for each in outputs if not each["why"]]
    lost, doubled = (sum(each[key] for each in outputs) for key in ("lost", "doubled"))
    read = sum(each["compared"] for each in compared)
    streams = sum(each["streams"] for each in compared)
    yield f"bytes lost            {lost}"
    yield f"bytes doubled         {doubled}"
    yield f"  {read} bytes of {_count(streams, 'stream')} were compared with {_count(len(compared), 'log file')}"
    if unseen := sum(each["unseen"] for each in compared):
        yield f"  {unseen} bytes more were counted, not compared: they were gone before the drill could read them"
    for each in outputs:
        if each["why"]:
            yield f"  not compared: {each['streams']} streams, {each['taken']} bytes: {each['name']}: {each['why']}"
    for turn in result["rounds"]:
        who = f"{turn['what']} {turn['pid']}, then {turn['successor']}, started by {turn['by']}"
        if turn["successor"] == turn["pid"]:
            who = f"{turn['what']}, which keeps pid {turn['pid']}"
        yield f"blind                 {_seconds(turn['away_s'])}; every process held again after" + (
            f" {_seconds(turn['held_s'])} ({who})"
        )


def _verdict(result: Answer, args: argparse.Namespace) -> Iterator[str]:
    paint = args.terminal.paint
    if result["held"]:
        yield paint("The promise held.", "bold", "green")
        return
    for problem in result["problems"][:_MAX_PROBLEMS]:
        yield f"- {one_line(problem)}"
    if len(result["problems"]) > _MAX_PROBLEMS:
        yield f"- and {len(result['problems']) - _MAX_PROBLEMS} more; see --json"
    what = paint("The promise did not hold.", "bold", "red")
    yield f"{what} Next: `circusctl exits NAME` and the logs of circusd and papa say why; docs/drill.md says more."


def has_failed(answer: Answer) -> bool:
    return "result" in answer and not answer["result"]["held"]


def _seconds(seconds: float | None) -> str:
    return "not in time" if seconds is None else f"{seconds:.2f} s"


def _count(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
