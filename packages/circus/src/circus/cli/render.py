"""Answers of circusd as lines for people and scripts. Pure but for the time zone: no clock, no terminal.

The lines of status, list, stats, options and listsockets are the ancestors': scripts cut them apart. What is
new is indented, so that it never looks like one of theirs.
"""

from __future__ import annotations

import json
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Answer = dict[str, Any]

#: States in which a slot is where it should be, or on its way there.
_QUIET = ("running", "starting", "stopping")

_INFO_FIELDS = ("cmdline", "username", "nice", "mem_info1", "mem_info2", "cpu", "mem", "ctime")
#: Output that waits for less is on its way.
_LAG_S = 1.0

#: What statistics have besides; all else was added by the hook extended_stats.
_OTHER_FIELDS = ("pid", "create_time", "age", "children", "started", "wid")


def status_lines(status: Answer, now: float, *, is_verbose: bool = False) -> Iterable[str]:
    """``name: state`` for each watcher; below it what is wrong, and with ``is_verbose`` every slot."""
    by_hand = status.get("by_hand", {})  # a circusd that was started before an upgrade does not tell
    for watcher in sorted(status["watchers"], key=lambda each: each["name"]):
        yield f"{watcher['name']}: {watcher['state']}"
        if is_verbose:
            yield from differing_lines(status["drift"].get(watcher["name"]), by_hand.get(watcher["name"]))
        yield from slot_lines(watcher, now, is_verbose=is_verbose)
        if is_verbose:
            yield from output_lines(status.get("output", {}).get(watcher["name"], {}))
    if is_verbose:
        known = {watcher["name"] for watcher in status["watchers"]}
        for name in sorted(by_hand.keys() - known):
            yield f"{one_line(by_hand[name])}: {one_line(name)}"
        for foreign in status["foreign"]:
            yield f"foreign: {foreign_text(foreign)}"
        yield from warden_lines(status)


def warden_lines(status: Answer) -> Iterable[str]:
    """``circusd: pid 812 under its warden, pid 811; replaced 2 times, last (pid 702) was killed by signal 9``."""
    warden = status.get("warden")
    if not warden or not warden["replaced"]:
        return
    under = f"under its warden, pid {warden['pid']}" if warden["pid"] else "alone"
    times = "once" if warden["replaced"] == 1 else f"{warden['replaced']} times"
    yield f"circusd: pid {status['pid']} {under}; replaced {times}, last: {one_line(warden['reason'])}"


def differing_lines(drift: str | None, by_hand: str | None) -> Iterable[str]:
    """In what a watcher is not as the file has it."""
    if drift:
        yield f"  drift: {one_line(drift)}"
    if by_hand:
        yield f"  {one_line(by_hand)}"


def output_lines(output: Answer) -> Iterable[str]:
    """Streams that wait for their sink, or that have lost something."""
    for stream in sorted(output, reverse=True):
        counter = output[stream]
        told = []
        if counter["held"] and counter["lag_s"] >= _LAG_S:
            told.append(f"{counter['held']} bytes are kept by papa, the oldest for {counter['lag_s']:.0f} s")
        if counter["dropped"]:
            told.append(f"{counter['dropped']} bytes were lost")
        if told:
            yield f"  {stream}: {'; '.join(told)}"


def slot_lines(watcher: Answer, now: float, *, is_verbose: bool = False) -> Iterable[str]:
    """The indented lines below a watcher."""
    job = watcher.get("job")
    if job is not None:
        yield from job_lines(job)
    if watcher["reason"] and watcher["state"] != "active" and not (job and job["next_run"]):
        yield f"  {one_line(watcher['reason'])}"
    if watcher.get("reload"):
        yield f"  {watcher['reload']}"
    for slot in watcher["slots"]:
        is_down = slot["state"] not in _QUIET and (slot["state"] != "stopped" or slot["reason"])
        is_down = is_down and not (job and slot["state"] == "exited")  # which is how a job ends
        is_odd = slot["state"] in ("starting", "running") and slot["reason"]
        if is_verbose or (watcher["wants_up"] and (is_down or is_odd)):
            yield f"  {watcher['name']}.{slot['wid']} {_slot_text(slot, now)}"


def job_lines(job: Answer) -> Iterable[str]:
    """``next run 2026-11-23 03:30:00; the last one of 2026-11-22 03:30:00 done after 12s``."""
    told = []
    if job["current"] is not None:
        told.append(f"at work for the run of {moment(job['current']['due'])}")
    if job["waiting"]:
        told.append(f"{job['waiting']} runs wait")
    if job["next_run"] is not None:
        told.append(f"next run {moment(job['next_run'])}")
    elif job["schedule"]:
        told.append("the schedule is stopped")
    if job["last"] is not None:
        told.append(f"the last one of {moment(job['last']['due'])} {run_text(job['last'])}")
    if told:
        yield f"  {'; '.join(told)}"


def run_text(run: Answer) -> str:
    """``done after 12s``, ``failed after 3s: ended with status 1``, ``3 skipped: the run before was not over``."""
    text = f"{run['count']} {run['state']}" if run["count"] > 1 else run["state"]
    if run["by_hand"]:
        text += " by hand"
    if run["pid"] is not None:
        text += f" pid {run['pid']}"
    if run["started_at"] is not None and run["ended_at"] is not None:
        text += f" after {duration(run['ended_at'] - run['started_at'])}"
    return f"{text}: {one_line(run['reason'])}" if run["reason"] and run["state"] != "done" else text


def moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def foreign_text(row: Answer) -> str:
    """``circus.web.1 pid 812``: a hosted process of another configuration."""
    return one_line(f"{row.get('name')} pid {row.get('pid')}")


def _slot_text(slot: Answer, now: float) -> str:
    parts = [slot["state"]]
    if slot["pid"] is not None:
        parts.append(f"pid {slot['pid']}")
        if slot["started_at"] is not None:
            parts.append(f"for {duration(now - slot['started_at'])}")
    text = " ".join(parts)
    reason = slot["reason"]
    if not reason and slot["pid"] is None and slot["last_status"] is not None:
        reason = ending(slot["last_status"])
    if reason:
        text = f"{text}: {one_line(reason)}"
    said = slot.get("said")
    return f"{text} ({one_line(said)})" if said else text


def exit_lines(answer: Answer) -> Iterable[str]:
    """``2026-11-22 12:49:05 web.1 pid 4711 after 3m12s: ended with status 1``, oldest first."""
    for each in answer["exits"]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each["at"]))
        lasted = duration(each["ran_s"])
        yield f"{at} {answer['name']}.{each['wid']} pid {each['pid']} after {lasted}: {one_line(each['reason'])}"


def ending(status: int) -> str:
    """``exited with status 1``, ``killed by signal 9``."""
    return f"killed by signal {-status}" if status < 0 else f"exited with status {status}"


def duration(seconds: float) -> str:
    """The two largest units: ``7s``, ``3m12s``, ``2h05m``, ``3d04h``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def stats_lines(answer: Answer) -> Iterable[str]:
    """Per watcher its name; per process its pid and the facts; children and what a hook added indented by 3."""
    for watcher, infos in answer["infos"].items():
        yield f"{watcher}:"
        for pid, info in infos.items():
            yield from process_lines(pid, info)


def process_lines(pid: str, info: Any) -> Iterable[str]:
    if not isinstance(info, dict):
        yield f"{pid}: {one_line(info)}"
        return
    yield f"{pid}: {_info_text(info)}"
    for child in info.get("children", ()):
        yield f"   {_info_text(child) if isinstance(child, dict) else one_line(child)}"
    yield from added_lines(info)


def added_lines(info: Answer) -> Iterable[str]:
    """What the hook extended_stats has added."""
    for key, value in info.items():
        if key not in _INFO_FIELDS and key not in _OTHER_FIELDS:
            yield f"   {one_line(key)}: {one_line(json.dumps(value))}"


def daemon_lines(answer: Answer) -> Iterable[str]:
    """circusd's figures as the ancestors print them, and below them the kernel's."""
    for title, info in (("Main Process:", answer["info"]), ("papa:", answer["papa"])):
        yield title
        yield f"   {_info_text(info) if isinstance(info, dict) else one_line(info)}"


def _info_text(info: Answer) -> str:
    values = [one_line(info.get(field, "N/A")) for field in _INFO_FIELDS]
    return f"{info.get('pid', 'N/A')}  {' '.join(values)}"


def options_lines(options: Answer) -> Iterable[str]:
    for key in sorted(options):
        yield f"{key}: {one_line(plain(options[key]))}"


def sockets_lines(answer: Answer) -> Iterable[str]:
    """``6:socket 'web' at 127.0.0.1:8080``, by descriptor."""

    for row in sorted(answer["sockets"], key=descriptor):
        yield f"{descriptor(row)}:socket '{row['name']}' at {place(row)}"


def descriptor(socket: Answer) -> Any:
    return socket.get("fd", socket.get("fileno", -1))


def place(socket: Answer) -> str:
    return str(socket.get("path") or f"{socket.get('host')}:{socket.get('port')}")


def plain(value: Any) -> Any:
    """Values as configuration files write them, where they can."""
    if isinstance(value, dict):
        return ",".join(f"{key}={plain(each)}" for key, each in value.items())
    return value


def one_line(value: Any) -> str:
    """Bounded to one line, and without what a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in str(value)).strip()
