"""`circusctl operations`: which orders are under way, how far one is, how it ended; and to follow one to its end."""

from __future__ import annotations

import json

from circus.cli.render import moment, one_line
from circus.errors import TABLE, CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Iterable, Iterator

    from circus.cli.asking import Answer, Daemon

_CHUNK = 64 * 1024

#: Watchers that a line names.
_MAX_NAMES = 5

_EPILOG = """\
  circusctl stop --no-wait web     prints the id of the order
  circusctl operations             all that run, and the last that have ended
  circusctl operations ID --follow prints how far it is until it ends, and ends with its status"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", nargs="?", help="of one operation; without it: all that are known")
    parser.add_argument("--follow", action="store_true", help="until it has ended; prints each change")
    parser.epilog = _EPILOG


def run(daemon: Daemon, args: argparse.Namespace) -> Answer | Iterator[Answer]:
    if args.follow:
        if args.id is None:
            raise CircusError("usage", "--follow needs the ID of an operation", "`circusctl operations` lists them")
        return _follow(daemon, args.id)
    return daemon.get("operations") if args.id is None else daemon.get("operations", args.id)


def _follow(daemon: Daemon, id: str) -> Iterator[Answer]:
    # Imported for this command alone.
    from circus.control import sse
    from circus.control.client import target

    sock, data = daemon.client.open_stream(target("operations", id, "events"))
    parser, has_ended = sse.Parser(), False
    with sock:
        sock.setblocking(True)
        while not has_ended:
            for said in parser.feed(data):
                has_ended = has_ended or said.kind == "end"
                yield json.loads(said.data)
            if not has_ended and not (data := _more(sock)):
                hint = "`circusctl status` shows the state; the next circusd does not know this operation"
                raise CircusError("unreachable", "circusd has left before the operation has ended", hint)


def _more(sock: socket.socket) -> bytes:
    """Nothing, when it has ended."""
    try:
        return sock.recv(_CHUNK)
    except OSError:
        return b""


def lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    if "operations" in answer:
        return [_brief(each) for each in answer["operations"]] or ["none is known"]
    if "watchers_done" in answer:
        return _progress(answer)
    return _whole(answer)


def status(answer: Answer) -> int:
    """Of one that has failed: as if it had been waited for."""
    error = answer.get("error") if "state" in answer else None
    return TABLE[error["code"]][1] if error else 0


def _brief(each: Answer) -> str:
    told = f"{each['id']}  {moment(each['begun_at'])}  {each['state']:7}  {what(each)}  ({each['by']})"
    return told + trouble(each)


def trouble(each: Answer) -> str:
    """How far it is, or why it has failed."""
    if each["progress"] is not None:
        return f": {_progress(each['progress'])[0]}"
    return "" if each["error"] is None else f": {one_line(each['error']['message'])}"


def _whole(each: Answer) -> list[str]:
    told = [f"{what(each)}: {each['state']}", f"  ordered {moment(each['begun_at'])} by {_by(each)}"]
    if each["ended_at"] is not None:
        told.append(f"  ended   {moment(each['ended_at'])}")
    if each["progress"] is not None:
        told += [f"  {line}" for line in _progress(each["progress"])]
    if each["error"] is not None:
        told += [f"  {line}" for line in (each["error"]["message"], each["error"]["hint"]) if line]
    return told


def _by(each: Answer) -> str:
    return one_line(f"{each['by']}, {each['origin']}")


def what(each: Answer) -> str:
    """``stop web db``."""
    names = each["watchers"]
    if names is None:
        return str(each["what"])
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return one_line(f"{each['what']} {' '.join(names[:_MAX_NAMES])}{more}")


def _progress(progress: Answer) -> list[str]:
    """One line, and one for each watcher that is waited for."""
    if progress["behind"]:
        return [f"waits behind {', '.join(progress['behind'])}"]
    first = f"{progress['watchers_done']} of {progress['watchers']} watchers"
    if progress["processes"]:
        first += f", {progress['processes_done']} of {progress['processes']} processes"
    return [first, *(f"  {standing(each)}" for each in progress["waits_for"])]


def standing(each: Answer) -> str:
    """``web: 0 of 1 ended, waits for its processes to end``."""
    count = f"{each['done']} of {each['of']} {each['what']}, " if each["of"] else ""
    return f"{one_line(each['watcher'])}: {count}{one_line(each['why'])}"


def waits_for(progress: Answer) -> str:
    """In one line how far it is, and who is not there yet."""
    first, *others = _progress(progress)
    named = [line.strip() for line in others[:_MAX_NAMES]]
    more = [f"and {len(others) - _MAX_NAMES} more watchers"] if len(others) > _MAX_NAMES else []
    return "; ".join([first, *named, *more])
