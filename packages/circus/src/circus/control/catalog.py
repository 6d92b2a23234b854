"""Every operation of circusd once: where it is, who may, what is asked and what is answered.

Routes, the description for programs (OpenAPI), the check of rights and the audit trail are made from these rows. An
order is a POST with a JSON object, a query is a GET.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from circus.control import grants, reasons, schema, told, views
from circus.control.ops import Ops
from circus.control.scrapes import Page
from circus.errors import CircusError

EVENT_STREAM = "text/event-stream"
JSON = "application/json"
PLAIN = "text/plain"


class Call(NamedTuple):
    """One request: ``name`` and ``key`` from its path, ``query`` and ``body`` of the types that the operation names."""

    name: str = ""
    query: Any = None
    body: Any = None
    last_event_id: str = ""
    key: str = ""
    accept: str = ""


#: A struct, text that is sent as it is, or a stream of pieces.
Answer = msgspec.Struct | bytes | Page | AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Operation:
    """``path`` has {name}, which may contain slashes, and {key}, which may not. ``media`` is of an answer that is no
    struct. ``whole``: it concerns more than the watchers that a caller sees. ``resumes``: Last-Event-ID is heard.
    ``may_wait``: it only waits; who goes ends it."""

    id: str
    method: str
    path: str
    verb: str
    summary: str
    perform: Callable[[Ops, Call], Awaitable[Answer]]
    answer: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    media: str = JSON
    media_too: str = ""  # for who accepts it
    whole: bool = False
    resumes: bool = False
    may_wait: bool = False
    tags: tuple[str, ...] = field(default=())

    @property
    def is_order(self) -> bool:
        return self.method == "POST"


def _get(id: str, path: str, summary: str, perform: Any, answer: type[msgspec.Struct] | None, **more: Any) -> Operation:
    return Operation(id, "GET", path, more.pop("verb", "see"), summary, perform, answer, **more)


def _post(
    id: str, path: str, summary: str, perform: Any, body: Any, answer: Any, *, verb: str, **more: Any
) -> Operation:
    return Operation(id, "POST", path, verb, summary, perform, answer, body=body, **more)


def _pair(verb: str, summary: str, body: type[msgspec.Struct], answer: type[msgspec.Struct]) -> list[Operation]:
    """An order to all or to the names in its body, and to the one (or pattern) in the path."""

    async def of_all(ops: Ops, call: Call) -> Answer:
        done: Answer = await getattr(ops, verb)(call.body)
        return done

    async def of_one(ops: Ops, call: Call) -> Answer:
        if call.body.names is not None:
            raise CircusError("bad-request", "names stand both in the path and in the body", "give one of them")
        done: Answer = await getattr(ops, verb)(msgspec.structs.replace(call.body, names=[call.name]))
        return done

    return [
        _post(verb, f"/v1/{verb}", f"{summary}: all watchers, or those named", of_all, body, answer, verb=verb),
        _post(
            f"watchers.{verb}", f"/v1/watchers/{{name}}/{verb}", f"{summary}: one watcher, or those that match",
            of_one, body, answer, verb=verb,
        ),
    ]  # fmt: skip


def _of_watcher(
    verb: str, summary: str, method: str, body: type[msgspec.Struct], answer: type[msgspec.Struct]
) -> Operation:
    async def perform(ops: Ops, call: Call) -> Answer:
        done: Answer = await getattr(ops, method)(call.name, call.body)
        return done

    return _post(f"watchers.{verb}", f"/v1/watchers/{{name}}/{verb}", summary, perform, body, answer, verb=verb)


def _of_all(verb: str, summary: str, body: type[msgspec.Struct], answer: type[msgspec.Struct]) -> Operation:
    async def perform(ops: Ops, call: Call) -> Answer:
        done: Answer = await getattr(ops, verb)(call.body)
        return done

    return _post(verb, f"/v1/{verb}", summary, perform, body, answer, verb=verb, whole=True)


async def _events(ops: Ops, call: Call) -> Answer:
    return ops.listen(call.query.topic, call.last_event_id, call.query.since)


async def _logs(ops: Ops, call: Call) -> Answer:
    is_stream = call.accept.partition(";")[0].strip() == EVENT_STREAM
    asked = msgspec.structs.replace(call.query, follow=True) if is_stream else call.query
    return await ops.logs_of(call.name, asked, call.last_event_id)


async def _follow(ops: Ops, call: Call) -> Answer:
    return ops.follow(call.key, call.last_event_id)


async def _stats(ops: Ops, call: Call) -> Answer:
    return await ops.stats(call.query.name, call.query.pid, call.query.extended)


async def _openapi(_ops: Ops, _call: Call) -> Answer:
    from circus.control import openapi

    return openapi.document()


# The operations of a single watcher by its bare name come last: a name may contain slashes.
OPERATIONS: tuple[Operation, ...] = (
    _get("version", "/v1/version", "Who answers here", lambda ops, _: ops.version(), schema.VersionAnswer),
    _get("openapi", "/v1/openapi.json", "This description", _openapi, None),
    _get("status", "/v1/status", "Everything at this moment", lambda ops, _: ops.status(), schema.StatusAnswer),
    _get(
        "watchers.status", "/v1/status/{name}", "A watcher and its slots",
        lambda ops, call: ops.status_of(call.name), schema.WatcherAnswer,
    ),
    _get("logs", "/v1/logs", "Where the output of watchers is", lambda ops, _: ops.logs(), schema.LogsAnswer),
    _get(
        "options", "/v1/options", "The options of circusd",
        lambda ops, _: ops.global_options(), schema.GlobalOptionsAnswer, whole=True,
    ),
    _get(
        "dstats", "/v1/dstats", "What circusd and papa use of the machine",
        lambda ops, _: ops.daemon_stats(), schema.DaemonStatsAnswer, whole=True,
    ),
    _get(
        "sockets", "/v1/sockets", "Sockets that are held",
        lambda ops, _: ops.sockets(), schema.SocketsAnswer, whole=True,
    ),
    _get(
        "metrics", "/metrics", "Everything that can be drawn as curves, for Prometheus",
        lambda ops, call: ops.metrics(call.accept), None,
        verb="metrics", media=PLAIN, media_too="application/openmetrics-text",
    ),
    _get(
        "sockets.one", "/v1/sockets/{name}", "One of them",
        lambda ops, call: ops.socket(call.name), schema.SocketsAnswer, whole=True,
    ),
    _get(
        "config", "/v1/config", "What the configuration says, and where", lambda ops, call: ops.config(call.query),
        views.ConfigAnswer, query=views.ConfigQuery,
    ),
    _get(
        "plan", "/v1/plan", "What reloadconfig would do", lambda ops, _: ops.plan(), schema.PlanAnswer, whole=True,
    ),
    _get(
        "events", "/v1/events", "What happens, as it happens", _events, None,
        query=schema.EventsQuery, media=EVENT_STREAM, resumes=True,
    ),
    _get(
        "stats", "/v1/stats", "What processes use of the machine", _stats, schema.StatsAnswer,
        query=schema.StatsQuery,
    ),
    _get(
        "stats.history", "/v1/stats/history", "What processes used before",
        lambda ops, call: ops.stats_history(call.query), views.StatsHistoryAnswer, query=views.StatsHistoryQuery,
    ),
    _get(
        "operations", "/v1/operations", "Orders that are under way, and the last ones that have ended",
        lambda ops, _: ops.operations(), told.OperationsAnswer,
    ),
    _get(
        "operations.one", "/v1/operations/{key}", "How far an order is, or how it ended",
        lambda ops, call: ops.operation(call.key, call.query.wait), told.OperationAnswer, query=told.OperationQuery,
        may_wait=True,
    ),
    _get(
        "operations.events", "/v1/operations/{key}/events", "How far an order is, as it goes on, and its end",
        _follow, None, media=EVENT_STREAM, resumes=True,
    ),
    *_pair("start", "Start", schema.OrderRequest, schema.DoneAnswer),
    *_pair("stop", "Stop", schema.OrderRequest, schema.DoneAnswer),
    *_pair("restart", "Restart", schema.OrderRequest, schema.DoneAnswer),
    *_pair("reload", "Replace processes", schema.ReloadRequest, schema.DoneAnswer),
    *_pair("forget", "Go back to what the file says", schema.ForgetRequest, schema.ForgetAnswer),
    _of_all("reloadconfig", "Read the configuration anew, or plan to", schema.ReloadConfigRequest, schema.PlanAnswer),
    _of_all("quit", "circusd leaves; what uses papa stays", schema.Request, schema.DoneAnswer),
    _of_all("shutdown", "circusd ends everything and leaves", schema.Request, schema.DoneAnswer),
    _of_all(
        "upgrade", "Another version takes circusd's place, or is tried", schema.UpgradeRequest, schema.UpgradeAnswer
    ),
    _post(
        "notifiers.test", "/v1/notifiers/{key}/test", "Send a test message",
        lambda ops, call: ops.test_notifier(call.key), schema.TestRequest, schema.NotifierAnswer,
        verb="notify", whole=True,
    ),
    _of_watcher("count", "Change the number of processes", "count", schema.CountRequest, schema.DoneAnswer),
    _of_watcher("run", "Run a job now", "run", schema.Request, schema.RunAnswer),
    _of_watcher("signal", "Send a signal", "signal", schema.SignalRequest, schema.SignalAnswer),
    _of_watcher("kill", "End processes; the watcher goes on", "kill", schema.KillRequest, schema.DoneAnswer),
    _of_watcher("add", "Add a watcher", "add", schema.AddRequest, schema.DoneAnswer),
    _of_watcher("remove", "Remove a watcher", "remove", schema.RemoveRequest, schema.DoneAnswer),
    _of_watcher("set", "Set options by hand", "set_options", schema.SetRequest, schema.DoneAnswer),
    _get(
        "tokens", "/v1/tokens", "The tokens that count over TCP",
        lambda ops, _: ops.tokens(), grants.TokensAnswer, verb="tokens", whole=True,
    ),
    _post(
        "tokens.create", "/v1/tokens", "Make a token", lambda ops, call: ops.make_token(call.body),
        grants.TokenRequest, grants.TokenAnswer, verb="tokens", whole=True,
    ),
    _post(
        "tokens.revoke", "/v1/tokens/{key}/revoke", "Revoke a token, by its id or name",
        lambda ops, call: ops.revoke_token(call.key, call.body),
        grants.RevokeRequest, grants.RevokedAnswer, verb="tokens", whole=True,
    ),
    _get("watchers", "/v1/watchers", "The names of all watchers", lambda ops, _: ops.watchers(), schema.WatchersAnswer),
    _get(
        "watchers.options", "/v1/watchers/{name}/options", "The options of a watcher",
        lambda ops, call: ops.options(call.name, reveal=call.query.reveal), schema.OptionsAnswer,
        query=schema.OptionsQuery,
    ),
    _get(
        "watchers.why", "/v1/watchers/{name}/why", "Why a watcher is as it is",
        lambda ops, call: ops.why(call.name, call.query), reasons.WhyAnswer, query=reasons.WhyQuery,
    ),
    _get(
        "watchers.runs", "/v1/watchers/{name}/runs", "The runs of a job",
        lambda ops, call: ops.runs(call.name), schema.RunsAnswer,
    ),
    _get(
        "watchers.slots", "/v1/watchers/{name}/slots", "The places of its processes",
        lambda ops, call: ops.slots(call.name), views.SlotsAnswer,
    ),
    _get(
        "watchers.slot", "/v1/watchers/{name}/slots/{key}", "One of them: its process, and the ends before",
        lambda ops, call: ops.slot(call.name, call.key), views.SlotDetailAnswer,
    ),
    _get(
        "watchers.logs", "/v1/watchers/{name}/logs", "What its processes wrote, or write", _logs, views.LogPage,
        verb="logs", query=views.LogsQuery, media=JSON, media_too=EVENT_STREAM, resumes=True,
    ),
    _get(
        "watchers.exits", "/v1/watchers/{name}/exits", "How its processes ended",
        lambda ops, call: ops.exits(call.name), schema.ExitsAnswer,
    ),
    _get(
        "watchers.pids", "/v1/watchers/{name}", "The pids of a watcher",
        lambda ops, call: ops.pids(call.name), schema.PidsAnswer,
    ),
)  # fmt: skip

BY_ID: Mapping[str, Operation] = {operation.id: operation for operation in OPERATIONS}
