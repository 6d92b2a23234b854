"""What a program does with the client of papa 1.x, told as one JSON object; its argument is a port or a path."""

import json
import os
import signal
import sys
import time

import papa

where = int(sys.argv[1]) if sys.argv[1].isdigit() else sys.argv[1]
told = {"module": papa.__file__}


def news(watcher):
    """Everything until nothing is left to watch, as text by kind."""
    heard = {"out": "", "err": "", "closed": []}
    while watcher:
        reply = watcher.read()
        if reply:
            out, err, closed = reply
            heard["out"] += b"".join(item.data for item in out).decode()
            heard["err"] += b"".join(item.data for item in err).decode()
            heard["closed"] += [[item.name, item.data] for item in closed]
    return heard


with papa.Papa(where, connection_timeout=5) as client:
    told["empty"] = [client.list_processes(), client.list_sockets(), client.list_values()]

    client.set("note", "two words")
    told["value"] = client.get("note")
    told["values"] = client.list_values("n*")
    client.remove_values("n*")
    told["removed"] = client.get("note")

    told["socket"] = client.make_socket("s", backlog=7)
    told["same_socket"] = client.make_socket("s", backlog=7) == told["socket"]
    try:
        client.make_socket("s", backlog=8)
    except papa.Error as error:
        told["other_socket"] = str(error)
    told["unix"] = client.make_socket("u", path=sys.argv[2], umask=0o77)
    told["sockets"] = sorted(client.list_sockets())

    script = 'echo "$GREETING" $1 $2; echo oh >&2; exit 3'
    made = client.make_process(
        "p",
        "/bin/sh",
        args=["-c", script, "sh", "$(socket.s.fileno)", "$(socket.s.port)"],
        env={"GREETING": "hello there"},
        working_dir="/tmp",
    )
    told["process"] = made
    try:
        client.make_process("bad", "/no/such/program")
    except papa.Error as error:
        told["bad"] = str(error)

    # The first frame is not acknowledged, and comes again.
    watcher = client.watch_processes("p")
    watcher.read()
    watcher.connection.sock.close()
    watcher.connection = None

    with client.watch_processes("p*") as again:
        told["rest"] = news(again)
        told["exit_code"] = again.exit_code
    told["after"] = client.list_processes()

    with client.make_process("q", "/bin/cat", "/dev/null", watch_immediately=True) as watcher:
        told["immediately"] = news(watcher)["closed"]

    long = client.make_process("long", "/bin/sleep", "1000")
    told["long"] = client.list_processes()["long"]["running"]
    told["busy"] = client.exit_if_idle()
    client.remove_processes("long")
    client.remove_sockets("*")
    told["nothing"] = [client.list_processes(), client.list_sockets()]
    os.kill(long["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while not client.exit_if_idle() and time.monotonic() < deadline:
        time.sleep(0.01)
print(json.dumps(told))
