"""A real Prometheus collects from a real circusd; what is drawn and what alerts is asked of what it has collected."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import parser

from papa import places
from tests.house import ROOT, House, opened, ticker, wait_for

ALERTS = ROOT / "docs/metrics/alerts.yml"
DASHBOARD = ROOT / "docs/metrics/dashboard.json"

CONFIG = """
[circus]
api.listen = 127.0.0.1:0
[watcher:web]
cmd = /bin/sleep 1000
numprocesses = 2
[watcher:fails]
cmd = /bin/sh -c "exit 3"
backoff.first = 0.1
backoff.attempts = 2
""" + ticker("ticker")


class Prometheus:
    """It asks at ``address``, whose certificate is in that file, with the token in that one."""

    def __init__(self, folder: Path, address: str, certificate: Path, token: Path) -> None:
        folder.mkdir()
        (folder / "prometheus.yml").write_text(
            f"""\
global: {{scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}}
rule_files: ['{ALERTS}']
scrape_configs:
  - job_name: circus
    scheme: https
    authorization: {{credentials_file: {token}}}
    tls_config: {{ca_file: {certificate}}}
    static_configs: [{{targets: ['{address}']}}]
"""
        )
        self._said = folder / "said"
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder}/prometheus.yml",
                    f"--storage.tsdb.path={folder}/data",
                    "--web.listen-address=127.0.0.1:0",
                ],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            )  # fmt: skip
        try:
            self._port = wait_for(self._find_port, "a Prometheus that listens")
        except BaseException:
            self.close()
            raise

    def _find_port(self) -> int | None:
        """Of the one socket at which it listens: it asked the system for it, and tells nobody."""
        assert self._process.poll() is None, self._said.read_text()
        files = Path(f"/proc/{self._process.pid}/fd")
        inodes = set()
        for each in os.listdir(files):
            with contextlib.suppress(OSError):
                inodes.add(os.readlink(files / each))
        for line in Path(f"/proc/{self._process.pid}/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                return int(fields[1].partition(":")[2], 16)
        return None

    def ask(self, path: str, **query: str) -> Any:
        """What its API answers; None while it is not ready."""
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            assert error.code == 503, f"{query}: {error.read().decode()}"
            return None
        except ConnectionError:
            return None

    def until(self, condition: str) -> None:
        """A page was collected of which this is true; one that came too late has none of it."""
        wait_for(lambda: (found := self.ask("query", query=condition)) and found["result"], condition, 90)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)


@contextlib.contextmanager
def collecting(house: House) -> Iterator[Prometheus]:
    """With a token that may do nothing else."""

    def listening() -> list[str]:
        return re.findall(r"^listening at https://(.*)$", house.asked("version"), re.MULTILINE)

    (address,) = wait_for(listening, "an address")
    token = house.folder / "prometheus.token"
    token.write_text(house.asked("token", "create", "prometheus", "--role", "viewer", "--verb", "metrics"))
    (certificate,) = (house.folder / "run").rglob("certificate.pem")
    prometheus = Prometheus(house.folder / "prometheus", address, certificate, token)
    try:
        yield prometheus
    finally:
        prometheus.close()


def scrape(house: House, accept: str = "*/*") -> tuple[str, str]:
    """The page, and its type."""
    path = str(next((house.folder / "run").rglob("*.sock")))
    with socket.socket(socket.AF_UNIX) as sock, places.unix_address(path) as address:
        sock.settimeout(50)
        sock.connect(address)
        request = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        sock.sendall(request.encode())
        answer = b""
        while chunk := sock.recv(1 << 16):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), answer
    return body.decode(), re.search(r"(?i)\r\ncontent-type: ([^\r]*)", head.decode()).group(1)  # type: ignore[union-attr]


def known(page: str) -> set[str]:
    """The names that may stand in an expression: also of what has no sample now."""
    names = set()
    for family in parser.text_string_to_metric_families(page):
        counted = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        names |= {family.name + suffix for suffix in counted.get(family.type, [""])}
    return names


def named(expression: str) -> set[str]:
    return set(re.findall(r"\bcircus_\w+", expression))


def drawn() -> dict[str, str]:
    """What each panel draws: title -> expression."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return {f"{panel['title']} {each['refId']}": each["expr"] for panel in panels for each in panel.get("targets", ())}


def alerting() -> dict[str, str]:
    """Alert -> expression; the file is simple enough."""
    found = re.split(r"^ +- alert: (\w+)\n", ALERTS.read_text(), flags=re.MULTILINE)
    return {
        name: re.search(r"\bexpr:(.*?)\n +(?:for|labels):", body, re.DOTALL).group(1)  # type: ignore[union-attr]
        for name, body in zip(found[1::2], found[2::2], strict=True)
    }


def test_all_that_is_drawn_or_alerts_is_told_and_almost_all_that_is_told_is_drawn(tmp_path: Path) -> None:
    with opened(tmp_path / "house", CONFIG) as house:
        house.start()
        page, kind = scrape(house)
        assert kind == "text/plain; version=0.0.4; charset=utf-8"
        assert 'circus_api_requests_total{operation="status",result="ok"}' in page
        told = known(page)
        for where, expression in (drawn() | alerting()).items():
            assert named(expression) or "up{" in expression, where
            assert named(expression) <= told, where
        everywhere = named(" ".join((drawn() | alerting()).values())) | named(DASHBOARD.read_text())
        assert told - everywhere == {
            "circus_replacements_total",
            "circus_watcher_processes_running", "circus_slot_ready", "circus_layer_start_time_seconds",
            "circus_mailbox_wait_seconds_sum", "circus_mailbox_wait_seconds_count",
            "circus_api_request_duration_seconds_sum", "circus_api_request_duration_seconds_count",
        }  # fmt: skip
        page, kind = scrape(house, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        assert kind.startswith("application/openmetrics-text; version=1.0.0")
        assert page.endswith("# EOF\n")


@pytest.mark.needs("prometheus")
def test_prometheus_collects_and_knows_what_happens(tmp_path: Path) -> None:
    with opened(tmp_path / "house", CONFIG) as house:
        house.start()
        with collecting(house) as prometheus:
            prometheus.until('up{job="circus"} == 1')
            prometheus.until('circus_watcher_state{watcher="web", state="active"} == 1')
            prometheus.until('circus_watcher_processes_ready{watcher="web"} == 2')
            prometheus.until("circus_papa_up == 1")
            prometheus.until('circus_slot_state{watcher="fails", wid="1", state="fatal"} == 1')
            prometheus.until('circus_watcher_exits_total{watcher="fails", code="3", ordered="false"} == 2')
            prometheus.until('circus_output_written_bytes_total{watcher="ticker", stream="stdout"} > 0')

            house.asked("stop", "web")
            prometheus.until('circus_watcher_state{watcher="web", state="stopped"} == 1')
            prometheus.until('circus_watcher_processes_wanted{watcher="web"} == 0')

            for where, expression in drawn().items():
                chosen = re.sub(r"\$(instance|watcher)\b", ".*", expression.replace("$__rate_interval", "1m"))
                assert "$" not in chosen
                found = prometheus.ask("query", query=chosen)
                assert found is not None, where

            def rules() -> list[dict[str, Any]]:
                groups = prometheus.ask("rules")["groups"]
                return [rule for group in groups for rule in group["rules"]]

            wait_for(lambda: all(rule["health"] != "unknown" for rule in rules()), "rules that were looked at")
            assert {rule["name"]: rule.get("lastError") for rule in rules()} == dict.fromkeys(alerting())

            def alerts() -> set[str]:
                """Those that wait for their time counted with them."""
                return {each["labels"]["alertname"] for each in prometheus.ask("alerts")["alerts"]}

            wait_for(lambda: "CircusFatal" in alerts(), "an alert")


def test_a_dashboard_is_whole() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert (dashboard["uid"], "id" in dashboard) == ("circus-overview", False)
    assert [each["name"] for each in dashboard["templating"]["list"]] == ["datasource", "instance", "watcher"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, f"{panel['title']} covers another one"
        assert columns[-1] < 24
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["type"] in ("stat", "timeseries", "table")
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(each["datasource"] == panel["datasource"] for each in panel["targets"])
        refs = [each["refId"] for each in panel["targets"]]
        assert refs and len(refs) == len(set(refs))


@pytest.mark.needs("promtool")
def test_every_alert_is_raised_by_what_it_is_for() -> None:
    test = ROOT / "tests/metrics/alerts.yml"
    for words in (["check", "rules", str(ALERTS)], ["test", "rules", str(test)]):
        done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
    text = test.read_text()
    tried = re.findall(r"alertname: (\w+)", text)
    raised = re.findall(r"alertname: (\w+)\n +exp_alerts:", text)
    assert set(alerting()) == set(tried) == set(raised)
    assert all(tried.count(name) > raised.count(name) for name in alerting()), "each is also silent once"


def test_statsd_is_told_what_the_processes_of_a_watcher_use(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.settimeout(60)
        statsd.bind(("127.0.0.1", 0))
        config = f"""
[watcher:web]
cmd = /bin/sleep 1000
numprocesses = 2
[plugin:full]
use = circus.plugins.statsd.FullStats
application_name = house
loop_rate = 0.2
host = 127.0.0.1
port = {statsd.getsockname()[1]}
"""
        with opened(tmp_path / "house", config) as house:
            house.start()
            wanted = {"watchers_num", "cpu_max", "cpu_sum", "mem_pct_max", "mem_pct_sum", "mem_max", "mem_sum"}
            told: dict[str, str] = {}
            while told.keys() != wanted or told["watchers_num"] != "2":
                name, _, value = statsd.recv(1000).decode().partition(":")
                assert name.startswith("circus.house.watcher._stats.web.") and value.endswith("|g")
                told[name.removeprefix("circus.house.watcher._stats.web.")] = value.removesuffix("|g")
            assert float(told["mem_sum"]) >= float(told["mem_max"]) > 0
