"""Real receivers of messages for a test: rsyslogd with its own configuration, journald in namespaces of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.house import wait_for
from tests.service import systemd
from tests.service.systemd import NAMESPACES

JOURNALD = "/lib/systemd/systemd-journald"

_RSYSLOG = """
module(load="imuxsock" SysSock.Use="off")
module(load="imudp")
module(load="imtcp")
input(type="imuxsock" Socket="{folder}/log" CreatePath="on" IgnoreTimestamp="off"
  UseSysTimeStamp="off")
input(type="imudp" address="127.0.0.1" port="{port}")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="row" type="string"
  string="%inputname% %timereported:::date-rfc3339% %syslogfacility-text%.%syslogseverity-text% %programname% %msg%\\n")
action(type="omfile" file="{folder}/got" template="row")
"""

_BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
"$@" </dev/null &
wait $!
"""


def can_run() -> bool:
    """Whether both are installed, and may have namespaces."""
    return systemd.can_run() and os.access(JOURNALD, os.X_OK) and shutil.which("rsyslogd") is not None


class Rsyslogd:
    """Listens at ``folder/log``, and over UDP and TCP at ``port``."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir()
        self._folder = folder
        self._config = folder / "rsyslog.conf"
        self._config.write_text(_RSYSLOG.format(folder=folder, port=port))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self._folder / "log"

    def start(self) -> None:
        command = ["rsyslogd", "-n", "-f", self._config, "-i", self._folder / "pid"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_for((self._folder / "pid").exists, "rsyslogd")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def rows(self, source: str) -> list[list[str]]:
        """[time, facility.level, tag, text] of what came by ``source``: imuxsock, imudp, imtcp."""
        path = self._folder / "got"
        lines = path.read_text().splitlines() if path.exists() else []
        cut = [line.split(" ", 4) for line in lines]
        return [[*row[1:4], row[4].lstrip(" ")] for row in cut if row[0] == source]


class Journald:
    """Its socket is reached through the root directory of its namespace."""

    def __init__(self) -> None:
        command = [*NAMESPACES, "sh", "-c", _BOOT, "boot", JOURNALD]
        self._outer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.root: Path = wait_for(self._find, "journald")

    def _find(self) -> Path | None:
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        root = Path(f"/proc/{children[0]}/root") if children else None
        return root if root is not None and os.path.exists(root / "run/systemd/journal/socket") else None

    @property
    def socket(self) -> Path:
        return self.root / "run/systemd/journal/socket"

    def entries(self, *matches: str) -> list[dict[str, str]]:
        command = ["journalctl", "-D", self.root / "run/log/journal", "-o", "json", "--all", "--no-pager", *matches]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def stop(self) -> None:
        self._outer.kill()
        self._outer.wait(20)
