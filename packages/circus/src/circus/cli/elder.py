"""A circusd that is asked by the ancestors' wire: one of 0.19 and before, or one of ours on another machine.

To the commands of circusctl it looks like any other: what they ask is put into the ancestors' messages, and the replies
into the answers that they expect, as far as those messages go.
"""

from __future__ import annotations

import fnmatch
import shlex

from circus.control.client import DEFAULT_TIMEOUT_S
from circus.errors import CircusError
from circus.legacy import messages, zmq_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from typing import Any

    from circus.cli.asking import Answer, Command, Orders
    from circus.control.client import Client

#: For the end of an order, where --timeout says nothing: several watchers with the ancestors' 30 s for a stop. They do
#: not say that they are alive meanwhile.
ORDER_S = 300.0

#: What begins to be looked at like a pattern in a name.
_GLOB = frozenset("*?[")

_NOT_TOLD = "not told by this circusd"


class Elder:
    """``timeout_s``: as given by --timeout. Raises: CircusError unreachable, when there is no pyzmq."""

    def __init__(self, endpoint: str, timeout_s: float | None) -> None:
        if not zmq_client.is_there():
            what = f"no circusd of this machine has the endpoint {endpoint}, and to ask others pyzmq is missing"
            raise CircusError("unreachable", what, zmq_client.INSTALL)
        self._endpoint = endpoint
        self._timeout_s = timeout_s

    @property
    def is_here(self) -> bool:
        return False

    @property
    def client(self) -> Client:
        raise self._unknown("this")

    def answers(self, command: Command, args: argparse.Namespace) -> Answer | Iterator[Answer]:
        """As ``command.run``; two of them do not ask for what the others do."""
        if command.name in ("listen", "events"):
            return self._listen(args.topics)
        if command.name == "numprocesses" and len(args.names) < 2:
            reply = self._ask("numprocesses", **({"name": args.names[0]} if args.names else {}))
            return {"numprocesses": reply["numprocesses"]}
        return command.run(self, args)  # type: ignore[arg-type]

    # Asked by commands --------------------------------------------------------------------------------------

    def get(self, *path: str, query: dict[str, str] | None = None) -> Answer:
        match path:
            case ("watchers",):
                return {"watchers": self._ask("list")["watchers"]}
            case ("watchers", name):
                return {"name": name, "pids": self._ask("list", name=name)["pids"]}
            case ("watchers", name, "options"):
                return {"name": name, "options": self._ask("options", name=name)["options"]}
            case ("status",):
                rows = [_row(name, state) for name, state in self._ask("status")["statuses"].items()]
                return {"watchers": rows, "foreign": [], "drift": {}, "by_hand": {}, "output": {}}
            case ("status", name):
                return _row(name, self._ask("status", name=name)["status"])
            case ("options",):
                return {"options": self._ask("globaloptions")["options"]}
            case ("dstats",):
                return {"info": self._ask("dstats")["info"], "papa": _NOT_TOLD}
            case ("sockets",):
                rows = self._ask("listsockets")["sockets"]
                return {
                    "sockets": [{"fileno" if key == "fd" else key: row[key] for key in row} for row in rows],
                }
            case ("stats",):
                return self._stats(query or {})
        raise self._unknown(path[-1])

    def post(self, *path: str, body: dict[str, object]) -> Answer:
        waits = bool(body.get("wait", False))
        match path:
            case ("start" | "stop" | "restart" | "reload" as verb,):
                return self._order(verb, body, waits=waits)
            case ("watchers", name, "count"):
                return self._count(name, body, waits=waits)
            case ("watchers", name, "signal" | "kill" as verb):
                properties = {key: value for key, value in body.items() if value is not None and key != "wait"}
                self._ask(verb, waits=waits, name=name, **properties)
                if verb == "signal":  # how many got it is not told
                    return {}
            case ("watchers", name, "add"):
                self._add(name, body, waits=waits)
            case ("watchers", name, "remove"):
                self._ask("rm", waits=waits, name=name, nostop=body["nostop"])
            case ("watchers", name, "set"):
                self._ask("set", waits=waits, name=name, options=typed(body["options"]))
            case ("reloadconfig",) if body.keys() <= {"wait"}:
                self._ask("reloadconfig", waits=waits)
                return {"text": "", "waited": waits}
            case ("quit",):
                self._ask("quit", waits=waits)
            case _:
                raise self._unknown(path[-1])
        return {"waited": waits}

    def order(self, *path: str, body: dict[str, object]) -> Answer:
        return self.post(*path, body=body)

    def order_each(self, orders: Orders, *, are_several: bool = False) -> Answer:
        told = {key: self.post(*path, body=body) for key, (path, body) in orders.items()}
        return {"answers": told} if are_several else next(iter(told.values()))

    def _stats(self, query: dict[str, str]) -> Answer:
        extended = {"extended": True} if query.get("extended") else {}
        if "name" not in query:
            return {"infos": self._ask("stats", **extended)["infos"]}
        name, pid = query["name"], query.get("pid")
        if pid is None:
            return {"infos": {name: self._ask("stats", name=name, **extended)["info"]}}
        return {"infos": {name: {pid: self._ask("stats", name=name, process=int(pid), **extended)["info"]}}}

    def _order(self, verb: str, body: dict[str, object], *, waits: bool) -> Answer:
        """The ancestors take one name in a message, and for a reload no pattern."""
        how: dict[str, object] = {key: value for key, value in body.items() if key in ("graceful", "sequential")}
        given = body.get("names")
        if not isinstance(given, list):
            self._ask(verb, waits=waits, **how)
            return {"waited": waits}
        match = str(body.get("match", "glob"))
        names = self._expanded(given) if verb == "reload" and match == "glob" else given
        told: dict[str, list[Any]] = {}
        for name in names:
            fields: dict[str, object] = how if verb == "reload" else {"match": match}
            info = self._ask(verb, waits=waits, name=name, **fields).get("info")
            for key, pids in (info if isinstance(info, dict) else {}).items():
                told.setdefault(key, []).extend(pids)
        return {"waited": waits, **told}

    def _expanded(self, patterns: list[str]) -> list[str]:
        if not any(_GLOB.intersection(pattern) for pattern in patterns):
            return patterns
        known: list[str] = self._ask("list")["watchers"]
        found = [name for name in known if any(fnmatch.fnmatchcase(name, pattern.lower()) for pattern in patterns)]
        if not found:
            raise CircusError(
                "not-found", f"no watcher matches {', '.join(patterns)}", f"there are: {', '.join(known)}"
            )
        return found

    def _count(self, name: str, body: dict[str, object], *, waits: bool) -> Answer:
        if "count" in body:
            self._ask("set", waits=waits, name=name, options={"numprocesses": body["count"]})
            return {"numprocesses": body["count"], "waited": waits}
        delta = body["delta"]
        assert isinstance(delta, int)
        reply = self._ask("incr" if delta >= 0 else "decr", waits=waits, name=name, nb=abs(delta))
        warnings = [f"{name} is a singleton: it has at most one process"] if reply.get("singleton") else []
        return {"numprocesses": reply.get("numprocesses"), "waited": waits, "warnings": warnings}

    def _add(self, name: str, body: dict[str, object], *, waits: bool) -> None:
        if "cmd" not in body:
            raise CircusError("usage", "CMD is missing", "a watcher that was removed comes back by ours alone")
        words = body.get("args")
        cmd = " ".join((str(body["cmd"]), *map(shlex.quote, words if isinstance(words, list) else ())))
        options = typed(body["options"])
        self._ask("add", waits=waits, name=name, cmd=cmd, options=options, start=body["start"])

    def _listen(self, topics: list[str]) -> Iterator[Answer]:
        """``endpoint`` is the one at which it publishes, as it was with the ancestors."""
        import json

        from circus.legacy.zmq_feed import Subscription

        with Subscription(self._endpoint, topics or ["watcher."]) as subscription:
            while True:
                if (heard := subscription.read(DEFAULT_TIMEOUT_S)) is not None:
                    topic, text = (part.decode(errors="replace") for part in heard)
                    try:
                        yield {"topic": topic, "message": json.loads(text)}
                    except ValueError:
                        yield {"topic": topic, "message": text}

    # One message --------------------------------------------------------------------------------------------

    def _ask(self, command: str, *, waits: bool = False, **properties: object) -> dict[str, Any]:
        if waits:
            properties["waiting"] = True
        timeout_s = self._timeout_s or (ORDER_S if waits else DEFAULT_TIMEOUT_S)
        message = {"command": command, "properties": properties}
        reply = zmq_client.exchange(self._endpoint, message, timeout_s=timeout_s)
        assert reply is not None  # which only a cast has not
        if reply.get("status") == "error":
            raise _refused(reply)
        return reply

    def _unknown(self, what: str) -> CircusError:
        hint = "circusctl on its own machine has all commands, for a circusd of ours"
        return CircusError("usage", f"{what} cannot be asked by ZMQ, which {self._endpoint} speaks", hint)


def typed(options: object) -> dict[str, object]:
    """Values as the ancestors want them in JSON: numbers and flags are none that are written as text."""
    from circus.config import options as known
    from circus.config import values

    kinds: dict[str, Callable[[str], object]] = {
        "seconds": values.PARSERS["seconds"],
        "flag": values.PARSERS["flag"],
        "signal": values.PARSERS["signal"],
        **dict.fromkeys(("processes", "retries", "integer", "count"), int),
    }
    told: dict[str, object] = {}
    for key, text in (options if isinstance(options, dict) else {}).items():
        option = known.WATCHER.get(key)
        kind = "integer" if key.startswith("rlimit_") else option.type if option is not None else ""
        try:
            value = kinds[kind](text) if kind in kinds else text
        except ValueError:
            value = text  # which is refused there in its own words
        told[key] = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(variables := told.get("env"), str):
        told["env"] = dict(pair.split("=", 1) for pair in variables.split(",") if "=" in pair)
    return told


def _row(name: str, state: str) -> Answer:
    return {"name": name, "state": state, "reason": "", "slots": [], "wants_up": False}


def _refused(reply: dict[str, Any]) -> CircusError:
    codes = {messages.MESSAGE_ERROR: "bad-request", messages.UNKNOWN_COMMAND: "bad-request"}
    number = reply.get("errno")
    code = codes.get(number, "operation-failed") if isinstance(number, int) else "operation-failed"
    return CircusError(code, str(reply.get("reason") or "the circusd there refuses, and says no reason"))
