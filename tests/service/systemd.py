"""A real systemd for a test: the manager of a user, in namespaces and a cgroup of its own.

It starts services, scopes and groups as any systemd does, and nothing of the machine's own is touched: /run is a new
tmpfs in there, units come from a folder of the test, and everything ends with the first process of its namespace.
That it is a user's manager is known by the name of its cgroup, as on any machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.house import wait_for

SYSTEMD = "/usr/lib/systemd/systemd"

#: cgroup v2 alone, or beside v1, where systemd's own hierarchy has groups, too.
CGROUPS = [Path("/sys/fs/cgroup")]
if not (CGROUPS[0] / "cgroup.procs").exists():
    CGROUPS = [Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd")]

NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]

BOOT = """
set -e
for group in $GROUPS_OF_TEST; do echo $$ >$group/cgroup.procs; done
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system $XDG_RUNTIME_DIR
# Not by exec: the manager of a user is not the first process.
"$@" </dev/null &
wait $!
"""


def can_run() -> bool:
    """Whether this machine lets a test have one: root, systemd's programs, namespaces, cgroups to write to."""
    if os.geteuid() != 0 or not os.access(SYSTEMD, os.X_OK) or not shutil.which("systemd-run"):
        return False
    try:
        for root in CGROUPS:
            probe = root / f"papa-probe-{os.getpid()}"
            probe.mkdir()
            probe.rmdir()
    except OSError:
        return False
    return subprocess.run([*NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/run"], capture_output=True).returncode == 0


class Systemd:
    """Its units are the files in ``units``."""

    def __init__(self, folder: Path) -> None:
        self.units = folder / "units"
        self.units.mkdir(parents=True)
        self._groups = [root / f"papa-test-{os.getpid()}" / "user@0.service" for root in CGROUPS]
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": "/run/user/0",
            "SYSTEMD_UNIT_PATH": f"{self.units}:/usr/lib/systemd/user",
        }
        self._log = (folder / "systemd.log").open("ab")
        self._outer: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        for group in self._groups:
            group.mkdir(parents=True)
        environ = {**self._environ, "GROUPS_OF_TEST": " ".join(map(str, self._groups))}
        command = [*NAMESPACES, "sh", "-c", BOOT, "boot", SYSTEMD, "--user", "--unit=basic.target"]
        self._outer = subprocess.Popen(command, env=environ, stdout=self._log, stderr=self._log)
        wait_for(lambda: self.ctl("is-system-running").stdout in ("running\n", "degraded\n"), "systemd")

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """systemctl of this manager."""
        assert self._outer is not None
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        if not children:
            return subprocess.CompletedProcess(words, 1, "", "not there yet")
        inside = ["nsenter", "--target", children[0], "--mount", "--pid"]
        return subprocess.run(
            [*inside, "systemctl", "--user", "--no-pager", *words],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=40,
        )

    def done(self, *words: str) -> str:
        asked = self.ctl(*words)
        assert asked.returncode == 0, f"systemctl {' '.join(words)}: {asked.stderr}"
        return asked.stdout.strip()

    def show(self, unit: str, what: str) -> str:
        return self.done("show", unit, "--value", "--property", what)

    def pids_in(self, pattern: str) -> set[int]:
        """Of the processes in the groups of this name, as this side numbers them."""
        return {int(pid) for group in self.groups_of(pattern) for pid in _left(group)}

    def groups_of(self, pattern: str) -> list[Path]:
        return list(self._groups[0].rglob(pattern))

    def exit(self) -> None:
        """What the shutdown of a host is for the manager of a user."""
        assert self._outer is not None
        self.ctl("exit")
        self._outer.wait(40)

    def close(self) -> None:
        if self._outer is not None:
            self._outer.kill()
            self._outer.wait()
        self._log.close()
        for group in self._groups:
            top = group.parent
            if top.exists():
                wait_for(lambda top=top: not _left(top), f"nobody left in {top}")
                for each in sorted((top, *(path for path in top.rglob("*") if path.is_dir())), reverse=True):
                    each.rmdir()


def _left(group: Path) -> list[str]:
    return [pid for procs in group.rglob("cgroup.procs") for pid in procs.read_text().split()]
