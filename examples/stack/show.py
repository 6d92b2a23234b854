"""What `make stack` runs: the stack of this folder under load, while its manager is restarted, killed and obeyed.

Everything is copied into a folder of its own that is removed at the end. Needs nginx, uwsgi_python3 and wrk.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = ("/usr/sbin/nginx", "/usr/bin/uwsgi_python3", "wrk")
WATCHERS = ("nginx", "logger", "web_app")
PORT = 8080
#: Of two instances of uWSGI, and of two more while they are replaced.
STATS_PORTS = (8091, 8092, 8093, 8094)

#: Seconds of load around each thing that happens to the stack.
LOAD_S = 4


class Stack:
    """The stack in ``folder``; ``bin`` has circusd, circusctl and papa. As another user where ``uid`` is given."""

    def __init__(self, folder, bin, *, port=PORT, stats_port=8090, uid=None):
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}/"
        self.pidfile = folder / "circusd.pid"
        self._identity = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
        self._environ = {
            "PAPA_RUNTIME_DIR": str(folder / "run"),
            "PATH": f"{bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(folder),
            "LANG": os.environ.get("LANG", "C.UTF-8"),
        }
        shutil.copytree(HERE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("circus.ini", "nginx/nginx.conf"):
            text = (folder / name).read_text().replace("/my_service", str(folder))
            text = text.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace(":809$", f":{stats_port // 10}$")
            (folder / name).write_text(text)
        for name in ("logs", "sock", "nginx/temp"):
            (folder / name).mkdir()
        if uid is not None:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, uid, uid)
        # An environment is known by the path of its program.
        self.run(sys.executable if uid is None else "/usr/bin/python3", "-m", "venv", "--without-pip", "env")

    def popen(self, *argv):
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(argv, env=self._environ, cwd=self.folder, **pipes, **self._identity)

    def run(self, *argv, timeout=60):
        """What it prints; RuntimeError when it fails."""
        return self.outputs(*argv, timeout=timeout)[0]

    def outputs(self, *argv, timeout=60):
        """What it prints, and what it has to say besides; RuntimeError when it fails."""
        process = self.popen(*argv)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        if process.returncode:
            raise RuntimeError(f"{' '.join(map(str, argv))} ended with {process.returncode}: {out}{err}")
        return out, err

    def start(self):
        self.run("circusd", "--daemon", "--pidfile", str(self.pidfile), "--log-output", "circusd.log", "circus.ini")
        wait_for(self.is_up, f"all watchers active: {self.folder}/circusd.log")

    def is_up(self):
        try:
            lines = self.run("circusctl", "status").splitlines()
        except RuntimeError:
            return False
        return all(f"{name}: active" in lines for name in WATCHERS)

    def quit(self):
        self.run("circusctl", "quit")
        wait_for(lambda: not self.pidfile.exists(), "circusd gone")

    def kill_circusd(self):
        """Its warden brings another one."""
        pid = int(self.pidfile.read_text())
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.pidfile.read_text() not in ("", f"{pid}\n") and self.is_up(), "another circusd")

    def kill_papa(self):
        """Kill the kernel, and wait until its holder has started another one."""
        pid = self.papa_pid()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.papa_pid() not in (None, pid), "another kernel")

    def papa_pid(self):
        """None while no kernel answers."""
        try:
            return json.loads(self.run("papa", "status", "--json"))["pid"]
        except RuntimeError:
            return None

    def read(self, name):
        return (self.folder / name).read_text()

    def pids(self, watcher):
        return sorted(int(pid) for pid in self.run("circusctl", "list", watcher).split(",") if pid.strip())

    def load(self, seconds=LOAD_S, *, keep_alive=True, work_s=0):
        """Begin to ask, eight at a time; the application works for ``work_s`` on each request."""
        header = () if keep_alive else ("-H", "Connection: close")
        return Load(
            self.popen("wrk", "-t1", "-c8", f"-d{seconds}s", "--timeout", "10s", *header, f"{self.url}?{work_s}")
        )

    def end(self):
        """Leave nothing behind, also after something broke in the middle."""
        for words in (("circusctl", "shutdown"), ("circusd", "--daemon", "circus.ini"), ("circusctl", "shutdown")):
            try:
                self.run(*words)
            except (RuntimeError, subprocess.TimeoutExpired):
                continue
            if words[-1] == "shutdown":
                return


class Load:
    """A run of wrk."""

    def __init__(self, process):
        self._process = process

    def result(self):
        """(requests, failed ones): connections that broke, answers that took too long or were no 2xx or 3xx."""
        out, err = self._process.communicate(timeout=60)
        total = re.search(r"(\d+) requests in", out)
        if total is None:
            raise RuntimeError(f"wrk ended with {self._process.returncode}: {out}{err}")
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
        wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
        failed = sum(map(int, errors.groups())) if errors else 0
        return int(total[1]), failed + (int(wrong[1]) if wrong else 0)


def wait_for(fact, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s in vain for: {what}")
        time.sleep(0.05)


def read_log(folder, name):
    """All of a log with its rotated parts, oldest first, in lines."""
    parts = [folder / f"{name}.{number}" for number in range(10, 0, -1)] + [folder / name]
    return "".join(part.read_text() for part in parts if part.exists()).splitlines()


def count_requests(lines):
    """(lines, lost, doubled) of nginx's log: each connection numbers its requests from 1."""
    numbers = {}
    for line in lines:
        connection, _, number = line.split()[1].partition(".")
        numbers.setdefault(connection, Counter())[int(number)] += 1
    lost = sum(max(seen) - len(seen) for seen in numbers.values())
    return len(lines), lost, sum(seen.total() - len(seen) for seen in numbers.values())


def main():
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        sys.exit(
            f"missing: {', '.join(missing)}; on Debian: apt-get install nginx-light uwsgi-core uwsgi-plugin-python3 wrk"
        )
    for port in (PORT, *STATS_PORTS):
        if socket.socket().connect_ex(("127.0.0.1", port)) == 0:
            sys.exit(f"port {port} of this machine is in use, and the stack needs it: end what listens there")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="papa-stack-"))
    stack = Stack(folder, pathlib.Path(sys.executable).parent)
    try:
        play(stack)
    except (RuntimeError, TimeoutError) as error:
        sys.exit(f"{error}")
    finally:
        stack.end()
        shutil.rmtree(folder)


def play(stack):
    say("Start nginx, uWSGI and the logger; then a second uWSGI instance")
    command(stack, "circusd", "--daemon", "--pidfile", "circusd.pid", "--log-output", "circusd.log", "circus.ini")
    wait_for(stack.is_up, "all watchers active")
    command(stack, "circusctl", "incr", "web_app")
    command(stack, "circusctl", "status", "-v")

    def restart():
        stack.quit()
        time.sleep(1)
        stack.start()

    say(f"Eight clients ask without a pause for {LOAD_S} s, again and again; meanwhile:")
    trouble = 0
    print(f"{'':<30} {'requests':>9} {'failed':>7}   nginx and uwsgi")
    for what, do, how in (
        ("circusctl quit; circusd", restart, {}),
        ("kill -9 circusd", stack.kill_circusd, {}),
        # Requests that take a while: a careless replacement would throw them away.
        ("circusctl reload web_app", lambda: stack.run("circusctl", "reload", "web_app"), {"work_s": 0.03}),
        # An idle connection that stays open is cut by nginx itself when it reads its configuration again.
        ("circusctl reload nginx", lambda: stack.run("circusctl", "reload", "nginx"), {"keep_alive": False}),
        ("papa upgrade", lambda: stack.run("papa", "upgrade"), {}),
        ("kill -9 papa", stack.kill_papa, {}),
    ):
        before = {name: stack.pids(name) for name in WATCHERS}
        load = stack.load(**how)
        time.sleep(0.5)
        do()
        requests, failed = load.result()
        after = {name: stack.pids(name) for name in WATCHERS}
        moved = [name for name in WATCHERS if before[name] != after[name]]
        print(
            f"{what:<30} {requests:>9} {failed:>7}   {'new: ' + ', '.join(moved) if moved else 'the same'}", flush=True
        )
        trouble += failed
    say("What the log of nginx noticed of it")
    command(stack, "circusctl", "shutdown")
    lines, lost, doubled = count_requests(read_log(stack.folder, "logs/web-server.log"))
    print(f"{lines} lines, {lost} lost, {doubled} doubled")
    if trouble or lost or doubled:
        sys.exit("this is not what was promised")


def command(stack, *argv):
    print(f"$ {' '.join(argv)}", flush=True)
    out, err = stack.outputs(*argv)
    print(err.replace(f"{stack.folder}/", ""), out, sep="", end="", flush=True)


def say(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


if __name__ == "__main__":
    main()
