from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.house import ROOT

from circus.bus import SERIOUS
from circus.config import load, notifiers
from circus.config.diff import diff
from circus.config.model import CircusConfig, ConfigInvalid, NotifierConfig

WATCHER = "[watcher:web]\ncmd = /bin/true\n"
HUSH = {"TOKEN": "hush"}


def loaded(tmp_path: Path, text: str, name: str = "circus.ini") -> CircusConfig:
    path = tmp_path / name
    path.write_text(text)
    return load.load(str(path), HUSH)


def the_one(tmp_path: Path, *lines: str) -> NotifierConfig:
    (found,) = loaded(tmp_path, WATCHER + "[notifier:ops]\n" + "\n".join(lines)).notifiers
    return found


def test_a_web_hook_is_as_it_is_written(tmp_path: Path) -> None:
    lines = (
        "url = https://hooks.example:8443/T0/abc?x=1", "header.Authorization = Bearer $(circus.env.TOKEN)",
        "events = fatal, un*  reap", "watchers = web*", "timeout = 3s", "retries = 2", "backoff = 500ms", "queue = 7",
        "every = 5m",
    )  # fmt: skip
    assert the_one(tmp_path, *lines) == NotifierConfig(
        name="ops",
        url="https://hooks.example:8443/T0/abc?x=1",
        headers=(("Authorization", "Bearer hush"),),
        events=("fatal", "un*", "reap"),
        watchers=("web*",),
        timeout_s=3.0,
        retries=2,
        backoff_s=0.5,
        queue=7,
        every_s=300.0,
    )


def test_toml_says_the_same(tmp_path: Path) -> None:
    text = (
        '[watcher.web]\ncmd = "/bin/true"\n[notifier.ops]\nurl = "http://h/x"\nevents = ["fatal", "limit"]\nqueue = 7\n'
        '[notifier.ops.header]\nX-Key = "$(circus.env.TOKEN)"\n[notifier."to mail"]\ncmd = "mail -s \'a b\' root"\n'
    )
    ops, mail = loaded(tmp_path, text, "circus.toml").notifiers
    assert (ops.url, ops.headers, ops.events, ops.queue) == ("http://h/x", (("X-Key", "hush"),), ("fatal", "limit"), 7)
    assert (mail.name, mail.argv) == ("to mail", ("mail", "-s", "a b", "root"))


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    found = the_one(tmp_path, "cmd = mail root")
    assert found == NotifierConfig(name="ops", argv=("mail", "root"))
    by_name = {option.attribute: option.default for option in notifiers.NOTIFIER.values()}
    assert all(getattr(found, name) == default for name, default in by_name.items() if name not in ("url", "cmd"))


@pytest.mark.parametrize(
    ("lines", "line", "what"),
    [
        ("", 3, "there must be one of url and cmd"),
        ("url = http://h\ncmd = mail", 4, "there must be one of url and cmd"),
        ("url = ftp://hush", 4, "url begins neither with http:// nor with https://"),
        ("url = http://u:hush@h/", 4, "url has a user in it"),
        ("url = http:///hush", 4, "url names no host"),
        ("url = http://h:0/hush", 4, "url is no address"),
        ("url = http://h:x/hush", 4, "url is no address"),
        ("url = http://h/hush hush", 4, "url is no address"),
        ("url = http://[h/hush", 4, "url is no address"),
        ("cmd = 'hush", 4, "cmd cannot be split: no closing quotation"),
        ("url = http://h\nheader.a b = x", 5, "header.a b: this is no name of a header"),
        ("url = http://h\nheader.Host = x", 5, "header.Host is decided by the message itself"),
        ("url = http://h\nheader.A = x\nheader.a = y", 6, "header.a is given twice"),
        ("url = http://h\nheader.A = hüsh", 5, "header.A has a value that cannot be sent"),
        ("url = http://h\nretries = 101", 5, "retries = 101 is too many"),
        ("url = http://h\nqueue = 10001", 5, "queue = 10001 is too long"),
        ("url = http://h\ntimeout = 0", 5, "timeout = '0' is too short"),
    ],
)
def test_a_mistake_is_one_line_that_tells_no_secret(tmp_path: Path, lines: str, line: int, what: str) -> None:
    text = f"{WATCHER}[notifier:ops]\n{lines or 'retries = 1'}\n"
    with pytest.raises(ConfigInvalid) as caught:
        loaded(tmp_path, text)
    (finding,) = (each for each in caught.value.findings if each.severity == "error")
    assert finding.line == line
    assert finding.what.startswith(f"notifier ops: {what}")
    assert "hush" not in str(finding)


@pytest.mark.parametrize(
    ("lines", "what", "hint"),
    [
        ("events = fatal, unhelthy", "unhelthy is no event that is known", "did you mean unhealthy?"),
        ("retires = 3", "unknown option retires", "did you mean retries?"),
        ("cmd = x\nheader.A = x", "header.A has no effect for a command", "remove it"),
    ],
)
def test_what_looks_like_a_slip_is_warned_of(tmp_path: Path, lines: str, what: str, hint: str) -> None:
    lines = lines if "cmd" in lines else f"url = http://h\n{lines}"
    (warning,) = loaded(tmp_path, f"{WATCHER}[notifier:ops]\n{lines}\n").warnings
    assert (warning.what, warning.hint) == (f"notifier ops: {what}", hint)


def test_every_event_of_the_documentation_is_known_and_every_serious_one() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    table = page.partition("| event | fields")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert len(named) > 20
    own = {name for name in SERIOUS if name.startswith("notify_")}
    assert (named | SERIOUS) - own <= {*notifiers.EVENTS}


def test_a_plan_names_what_differs_and_no_value(tmp_path: Path) -> None:
    one = loaded(tmp_path, WATCHER + "[notifier:a]\ncmd = x\n[notifier:b]\nurl = http://h/hush\nheader.K = hush\n")
    other = loaded(
        tmp_path, WATCHER + "[notifier:b]\nurl = http://h/hush2\nretries = 1\nheader.K = hush2\n[notifier:c]\ncmd = x\n"
    )
    plan = diff(one, other)
    assert (plan.notifiers_add, plan.notifiers_remove) == (("c",), ("a",))
    assert plan.notifiers_change == {"b": ("url", "retries", "header.K")}
    assert "hush" not in str(plan) + repr(other.notifiers)
    assert diff(other, other).is_empty
    assert other.notifiers[0].target == "http://h/***"
