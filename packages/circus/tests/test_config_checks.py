"""The grammar of `ready` and `health.check`, and what a configuration with them means."""

from __future__ import annotations

from pathlib import Path

import pytest

from circus.config import checks
from circus.config.checks import Check
from circus.config.load import examine
from circus.config.model import CircusConfig, Finding, HealthPolicy, WatcherConfig
from circus.config.validate import Host
from circus.config.values import PARSERS


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("notify", Check("notify")),
        ("  exec  pg_isready -q ", Check("exec", "pg_isready -q")),
        ("http http://127.0.0.1:8000/up?x=1", Check("http", "/up?x=1", "127.0.0.1", 8000)),
        ("http https://[::1]", Check("http", "/", "::1", 443, is_tls=True)),
        ("http http://web", Check("http", "/", "web", 80)),
        ("tcp 127.0.0.1:5432", Check("tcp", "", "127.0.0.1", 5432)),
        ("tcp [::1]:80", Check("tcp", "", "::1", 80)),
        ("tcp unix:/run/a b.sock", Check("tcp", "/run/a b.sock")),
        ("line ^Listening on .* port", Check("line", "^Listening on .* port")),
        ("delay 1m", Check("delay", seconds=60.0)),
    ],
)
def test_a_check_of_readiness_is_read(text: str, check: Check) -> None:
    canonical = PARSERS["ready"](text)
    assert isinstance(canonical, str)
    assert checks.of(canonical) == check
    assert PARSERS["ready"](canonical) == canonical


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no check"),
        ("Notify", "is no check"),
        ("notify now", "has something behind notify"),
        ("exec", "has nothing behind exec; write exec COMMAND"),
        ("exec 'a", "cannot be split into words"),
        ("http 127.0.0.1:80", "has no URL"),
        ("http ftp://x/", "has no URL"),
        ("http http://x:99999/", "has no URL"),
        ("http http://a:b@x/", "has no URL"),
        ("http http://x/a b", "has no URL"),
        ("tcp 8000", "has no address"),
        ("tcp web:0", "has no address"),
        ("tcp web:65536", "has no address"),
        ("tcp unix:run", "has no path"),
        ("line (", "is no regular expression"),
        ("line " + "x" * 1001, "is longer than 1000"),
        ("delay soon", "is not"),
        ("delay 0", "has no time"),
        ("watchdog 5", "is no check"),
    ],
)
def test_what_is_no_check_is_told(text: str, told: str) -> None:
    with pytest.raises(ValueError, match="; ") as caught:
        PARSERS["ready"](text)
    assert str(caught.value).startswith(told)


def test_health_has_other_checks() -> None:
    assert PARSERS["health_check"]("watchdog 500ms") == "watchdog 0.5"
    for text in ("notify", "line x", "delay 1"):
        with pytest.raises(ValueError, match="is no check; write exec COMMAND, http URL, tcp HOST:PORT or watchdog"):
            PARSERS["health_check"](text)


def test_variables_are_put_in_for_each_process() -> None:
    config = WatcherConfig(name="web", cmd="x", numprocesses=3)
    text = PARSERS["ready"]("http http://$(circus.env.HOST):$(circus.sockets.Web.port)/((circus.wid))")
    assert isinstance(text, str)
    assert checks.sockets_in(text) == ["web"]
    env, ports = {"HOST": "here"}, {"web": 8080}
    assert checks.expanded(text, config, wid=2, env=env, ports=ports) == Check("http", "/2", "here", 8080)
    with pytest.raises(ValueError, match="has no URL"):
        checks.expanded(text, config, wid=2, env=env, ports={})


class Nowhere(Host):
    def _answer(self, question: str, subject: str) -> bool:
        return question != "program" or subject.startswith("/bin/")


def examined(tmp_path: Path, text: str) -> tuple[CircusConfig, list[Finding]]:
    path = tmp_path / "c.ini"
    path.write_text("[watcher:web]\ncmd = /bin/true\n" + text)
    draft, findings = examine(str(path), {}, host=Nowhere())
    return draft.config, findings


def told(tmp_path: Path, text: str) -> list[str]:
    return [f"{each.line} {each.severity} {each.what}" for each in examined(tmp_path, text)[1]]


def test_a_watcher_has_them(tmp_path: Path) -> None:
    text = "ready = notify\nstart_timeout = 2m\nhealth.check = watchdog 10s\nhealth.action = report\n"
    config, findings = examined(tmp_path, text)
    assert not findings
    (watcher,) = config.watchers
    assert (watcher.ready, watcher.start_timeout_s) == ("notify", 120.0)
    assert watcher.health == HealthPolicy("watchdog 10", action="report")


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("ready = smoke", "3 error web: ready = 'smoke' is no check"),
        ("ready = exec /opt/none x", "3 error web: program /opt/none does not exist or is not executable"),
        ("health.check = exec /opt/none", "3 error web: program /opt/none does not exist or is not executable"),
        ("ready = tcp x:$(circus.sockets.a.port)", "3 error web: ready refers to socket a, which is not defined"),
        ("start_timeout = 5", "3 warning web: start_timeout has no effect without ready"),
        ("health.interval = 5", "3 error web: health.interval without health.check"),
        ("health = tcp x:1", "3 warning web: unknown option health"),
        ("health.chek = tcp x:1", "3 warning web: unknown option health.chek"),
        ("health.check = tcp x:1\nhealth.action = mail", "4 error web: health.action = 'mail' is no such action"),
        ("health.check = watchdog 5\nhealth.timeout = 3", "4 warning web: health.timeout has no effect on a watchdog"),
        (
            "ready = line x\nclose_child_stdout = true\nclose_child_stderr = true",
            "3 error web: ready waits for a line of output, but there is none",
        ),
    ],
)
def test_a_slip_is_one_clear_line(tmp_path: Path, text: str, finding: str) -> None:
    assert finding in told(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "told_of"),
    [
        ("ready = tcp 127.0.0.1:PORT", "ready is always fulfilled: papa holds socket front open, whoever serves it"),
        ("health.check = tcp 127.0.0.1:PORT", "health.check is always fulfilled: papa holds socket front open"),
        ("ready = http http://127.0.0.1:PORT/", "ready asks at socket front, which the processes share: an old one"),
        ("ready = http http://127.0.0.1:PORT/\nmax_surge = 0", ""),
        ("ready = http http://127.0.0.1:PORT/\nsingleton = true", ""),
        ("health.check = http http://127.0.0.1:PORT/", ""),
        ("numprocesses = 2\nhealth.check = http http://127.0.0.1:PORT/", "health.check asks at socket front, which"),
        ("ready = exec /bin/true PORT", ""),
        ("ready = http http://127.0.0.1:8001/", ""),
    ],
)
def test_who_asks_at_a_shared_socket_is_told_that_another_one_may_answer(
    tmp_path: Path, text: str, told_of: str
) -> None:
    socket = "\n[socket:front]\nhost = 127.0.0.1\nport = 8000\n"
    found = told(tmp_path, "use_sockets = true\n" + text.replace("PORT", "$(circus.sockets.front.port)") + socket)
    about = [each for each in found if "socket front" in each]
    assert len(about) == bool(told_of)
    assert told_of in "".join(about)
