"""The tables of options: whole, and in agreement with the model that they fill."""

from __future__ import annotations

import dataclasses

import pytest

from circus.config import families, model, options, values
from circus.config.model import FlappingPolicy
from circus.config.options import Option

TABLES = {
    "circus": (options.CIRCUS, model.CircusConfig),
    "watcher": (options.WATCHER, model.WatcherConfig),
    "stream": (options.STREAM, model.StreamConfig),
    "socket": (options.SOCKET, model.SocketConfig),
    "flapping": (options.FLAPPING, FlappingPolicy),
    "backoff": (families.BACKOFF, model.BackoffPolicy),
    "limits": (families.LIMITS, model.LimitsPolicy),
    "job": (families.JOB, model.JobOptions),
}
ALL = [pytest.param(title, each, id=f"{title}-{name}") for title, (t, _) in TABLES.items() for name, each in t.items()]


@pytest.mark.parametrize(("title", "option"), ALL)
def test_every_option_has_a_parser_a_meaning_and_a_kind_of_change(title: str, option: Option) -> None:
    assert option.type in values.PARSERS
    assert option.doc.endswith(".")
    assert option.change in ("live", "restart", "none")
    if option.change == "none":
        assert option.idle


@pytest.mark.parametrize(("title", "option"), ALL)
def test_the_model_has_a_field_with_that_default_for_every_option_with_an_effect(title: str, option: Option) -> None:
    if option.idle or option.name in ("include", "include_dir", "active"):
        return
    fields = {each.name: each for each in dataclasses.fields(TABLES[title][1])}
    field = fields[option.attribute]
    if field.default is dataclasses.MISSING:
        assert option.name in ("cmd", "class")
    elif (title, option.name) != ("circus", "name"):
        assert field.default == option.default


def test_every_field_of_a_watcher_has_an_option_or_a_reason() -> None:
    written = {option.attribute for option in options.WATCHER.values()}
    prefixed = {"rlimits", "hooks", *options.FAMILIES, "stdout_stream", "stderr_stream", "env", "extra"}
    made = {"name", "plugin", "digest", "written", "file", "line"}
    assert {each.name for each in dataclasses.fields(model.WatcherConfig)} <= written | prefixed | made


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("gracefull_timeout", "graceful_timeout"),
        ("numprocess", "numprocesses"),
        ("stop_singal", "stop_signal"),
        ("Working_Dir", "working_dir"),
        ("hook.before_start", "hooks.before_start"),
        ("stdout_stream.filname", "stdout_stream.filename"),
        ("rlimit_nofiles", "rlimit_nofile"),
        ("copyenv", "copy_env"),
    ],
)
def test_a_slip_leads_to_the_known_name(slip: str, meant: str) -> None:
    assert options.nearest(slip, options.watcher_names()) == meant


@pytest.mark.parametrize("own", ["stats_base_port", "active", "port", "my_option", "version", "sla"])
def test_a_name_of_ones_own_is_no_slip(own: str) -> None:
    assert options.nearest(own, options.watcher_names()) is None
