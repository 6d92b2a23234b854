"""What `make demo` runs: starts examples/hello.ini, restarts circusd under it and kills it, and counts.

Everything lives in a runtime root of its own that is removed at the end: no other circusd is disturbed.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import tally

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(sys.executable).parent
CONFIG = "examples/hello.ini"


def say(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


class Demo:
    def __init__(self, folder):
        self.folder = folder
        self.truth = folder / "truth"
        self.truth.mkdir()
        self.pidfile = folder / "circusd.pid"
        # The configuration writes its logs to the current directory; hello.ini names its programs from the
        # project's folder.
        (folder / "examples").symlink_to(ROOT / "examples")
        self.environ = {
            **os.environ,
            "PAPA_RUNTIME_DIR": str(folder / "run"),
            "TICKER_TRUTH": str(self.truth),
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }

    def run(self, *argv, show=True):
        if show:
            print(f"$ {' '.join(argv)}", flush=True)
        done = subprocess.run(argv, env=self.environ, cwd=self.folder, capture_output=True, text=True, timeout=60)
        if show:
            print(done.stdout, end="", flush=True)
        if done.returncode:
            sys.exit(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def start(self):
        self.run("circusd", "--daemon", "--pidfile", str(self.pidfile), CONFIG)
        wait_for(self.is_up, "all watchers active")

    def is_up(self):
        out = self.status()
        return "stopp" not in out and "start" not in out

    def end(self):
        """Leave nothing behind, also when the demo broke in the middle."""
        quietly = {"env": self.environ, "cwd": self.folder, "capture_output": True, "timeout": 60}
        if subprocess.run(["circusctl", "shutdown"], **quietly).returncode:
            subprocess.run(["circusd", "--daemon", CONFIG], **quietly)
            subprocess.run(["circusctl", "shutdown"], **quietly)

    def status(self):
        done = subprocess.run(
            ["circusctl", "status"],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout if done.returncode == 0 else "starting"

    def circusd_pid(self):
        """0 while the file is written anew."""
        return int(self.pidfile.read_text() or 0)

    def pids(self):
        return {
            f"{watcher}-{wid}": pid
            for watcher in ("ticker", "web")
            for wid, pid in enumerate(
                sorted(int(p) for p in self.run("circusctl", "list", watcher, show=False).split(",")), start=1
            )
        }

    def port(self):
        return int(re.search(r":(\d+)\s*$", self.run("circusctl", "listsockets", show=False)).group(1))


class Visitor(threading.Thread):
    """Asks the web server again and again, and counts what failed."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.url = f"http://127.0.0.1:{port}/"
        self.requests = self.failed = 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.02):
            self.requests += 1
            try:
                with urllib.request.urlopen(self.url, timeout=5) as answer:
                    answer.read()
            except OSError:
                self.failed += 1


def wait_for(fact, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            sys.exit(f"waited {seconds} s in vain for: {what}")
        time.sleep(0.05)


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="papa-demo-"))
    demo = Demo(folder)
    try:
        play(demo)
    finally:
        demo.end()
        shutil.rmtree(folder)


def play(demo):
    say("Start circusd in the background, with three tickers and a web server")
    demo.start()
    demo.run("circusctl", "status")
    before = demo.pids()
    visitor = Visitor(demo.port())
    visitor.start()
    circusds = [demo.circusd_pid()]
    time.sleep(1)

    say("Restart it: quit, two seconds without any circusd, start")
    demo.run("circusctl", "quit")
    time.sleep(2)
    demo.start()
    circusds.append(demo.circusd_pid())
    time.sleep(1)

    say("Kill it: kill -9, and its warden brings another one")
    print(f"$ kill -9 {circusds[-1]}", flush=True)
    os.kill(circusds[-1], signal.SIGKILL)
    wait_for(lambda: demo.circusd_pid() not in (0, circusds[-1]) and demo.is_up(), "another circusd")
    circusds.append(demo.circusd_pid())
    demo.run("circusctl", "status")
    after = demo.pids()
    time.sleep(1)

    visitor.ended.set()
    visitor.join()
    demo.run("circusctl", "shutdown", show=False)

    say("What the processes noticed of it")
    tallies = tally.compare(demo.truth, tally.rotated(demo.folder / "hello-ticker.log"))
    print(f"{'process':<10} {'pid before':>10} {'pid after':>10} {'written':>8} {'lost':>6} {'doubled':>8}")
    trouble = visitor.failed
    for name in before:
        row = f"{name:<10} {before[name]:>10} {after.get(name, '-'):>10}"
        trouble += before[name] != after.get(name)
        found = [each for (who, _), each in tallies.items() if who == name]
        if found:
            lines, lost, doubled = (
                sum(getattr(each, what) for each in found) for what in ("written", "lost", "doubled")
            )
            trouble += lost + doubled
            print(f"{row} {lines:>8} {lost:>6} {doubled:>8}")
        else:
            print(f"{row} {'-':>8} {'-':>6} {'-':>8}")
    print(f"circusd    pids {', '.join(map(str, circusds))}")
    print(f"web        {visitor.requests} requests, {visitor.failed} failed")
    if trouble:
        sys.exit("this is not what was promised")


if __name__ == "__main__":
    main()
