"""Run by the Python of the peers: what their classes get from circusd at the folder that is named. Prints JSON."""

import asyncio
import json
import sys
import threading

from circus.client import AsyncCircusClient, CircusClient, make_message
from circus.consumer import CircusConsumer
from circus.exc import CallError
from circus.stats.client import StatsClient

folder = sys.argv[1]
orders = f"ipc://{folder}/orders"
found = {}


def ask():
    client = CircusClient(endpoint=orders, timeout=50)
    found["call"] = client.call(make_message("numprocesses", name="web"))["numprocesses"]
    found["send_message"] = sorted(client.send_message("list")["watchers"])
    found["error"] = {key: client.send_message("status", name="x")[key] for key in ("status", "errno", "reason")}
    found["many"] = sum(client.send_message("list", name="web")["status"] == "ok" for _ in range(200))
    found["waited"] = client.send_message("restart", name="web", waiting=True)["info"].keys() >= {"stopped", "started"}
    client.stop()


def ask_at_once():
    counts = []

    def one():
        client = CircusClient(endpoint=orders, timeout=50)
        counts.append([client.send_message("numwatchers")["numwatchers"] for _ in range(50)])
        client.stop()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found["at once"] = counts == [[2] * 50] * 8


async def ask_async():
    client = AsyncCircusClient(endpoint=orders)
    reply = await client.send_message("numwatchers")
    found["async"] = reply["numwatchers"]
    client.stop()


def ask_nobody():
    client = CircusClient(endpoint=f"ipc://{folder}/nobody", timeout=0.1)
    try:
        client.send_message("list")
    except CallError as error:
        found["nobody"] = str(error)
    client.stop()


def listen():
    """A subscription takes effect some time after it was made: so it is restarted until something is heard."""
    stopping = threading.Event()

    def restart():
        client = CircusClient(endpoint=orders, timeout=50)
        while not stopping.is_set():
            client.send_message("restart", name="data.base", waiting=True)
        client.stop()

    thread = threading.Thread(target=restart)
    with CircusConsumer(["watcher.data.base."], endpoint=f"ipc://{folder}/events") as consumer:
        thread.start()
        wanted = {b"kill", b"reap", b"stop", b"spawn", b"start"}
        for topic, message in consumer:
            assert topic.startswith(b"watcher.data.base."), topic
            assert json.loads(message)["time"]
            wanted.discard(topic.rpartition(b".")[2])
            if not wanted:
                break
        stopping.set()
    thread.join()
    found["events"] = True


def watch():
    seen = set()
    for watcher, pid, figures in StatsClient(f"ipc://{folder}/stats"):
        assert isinstance(figures, dict)
        seen.add((watcher, "all" if pid is None else "each"))
        if len(seen) == 8:
            break
    found["stats"] = sorted(seen)


ask()
ask_at_once()
asyncio.run(ask_async())
ask_nobody()
listen()
watch()
print(json.dumps(found))
