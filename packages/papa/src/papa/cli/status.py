"""`papa status`: one page about a kernel."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from papa.client.blocking import Connection


def run(args: argparse.Namespace) -> int:
    """Ask and print."""
    with Connection(args.endpoint, client="papa status", autostart=False) as connection:
        facts = connection.request("status").ok
    print(json.dumps(facts, indent=2) if args.json else render(facts))
    return 0


def render(facts: dict[str, Any]) -> str:
    """The page, without a last newline. Facts that this release does not know are left to --json."""
    holder = facts["holder"] or "none, a replacement is being started"
    vault = facts["vault"]
    lines = [
        f"papa {facts['papa']}, instance {facts['instance']}, pid {facts['pid']}, holder {holder}",
        _line("directory", facts["directory"]),
        _line("up", f"{render_time(facts['uptime_s'])}, since {_moment(facts['started_at'])}"),
        _line("processes", f"{facts['processes']}, of which {facts['running']} run"),
        _line("sockets", f"{facts['sockets']}, values {facts['values']}"),
        _line("clients", _clients(facts)),
        _line(
            "output",
            f"{render_bytes(facts['held_bytes'])} held of {render_bytes(facts['budget_bytes'])},"
            f" {render_bytes(facts['dropped_bytes'])} dropped",
        ),
        _line("memory", render_bytes(facts["rss_bytes"])),
        *_of_now(facts),
        _line("tier", facts["tier"]),
        _line("vault", f"{vault['live']} entries, {vault['dead']} to be cleared, {vault['refused']} refused"),
    ]
    if facts["not_covered"]:
        lines.append(_line("not covered", f"{facts['not_covered']} would be lost if the kernel were killed"))
        lines.append(_line("", f"- {_names(facts.get('not_covered_names', []), facts['not_covered'])}"))
    lines += [_line("", f"- {reason}") for reason in facts["not_covered_reasons"]]
    lines += [_line("left aside", what) for what in facts.get("left_aside", ())]
    lines += [_line("warning", warning) for warning in facts.get("warnings", ())]
    if facts.get("lost"):
        lines.append(_line("lost", f"{facts['lost']} by the kill of an earlier kernel; kernel.log has all"))
    lines += [_line("", f"- {loss}") for loss in facts.get("losses", ())]
    if facts["faults"]:
        lines.append(_line("faults", f"{facts['faults']} contained; kernel.log has them"))
    return "\n".join(map(_printable, lines))


def _printable(line: str) -> str:
    """What another user's kernel says shall not steer root's terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def _of_now(facts: dict[str, Any]) -> list[str]:
    """What an earlier release does not say."""
    if "file_system" not in facts:
        return []
    disk = facts["file_system"]
    return [
        _line("disk", f"{render_bytes(disk['free_bytes'])} free of {render_bytes(disk['size_bytes'])}"),
        *(_line("", f"- {problem}") for problem in disk.get("problems", ())),
        _line("python", f"{facts['python']}, {facts['program'][0]}"),
        _line("code", facts["program"][1]),
    ]


def _line(label: str, text: str) -> str:
    return f"  {label:<12}{text}"


def _names(names: list[str], count: int) -> str:
    rest = count - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")


def _clients(facts: dict[str, Any]) -> str:
    names = sorted({name for name in facts["clients"] if name})
    return f"{facts['connections']} connected" + (f": {', '.join(names)}" if names else "")


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def render_bytes(count: int) -> str:
    """Three digits and a unit: 512 B, 1.5 kB, 20 MB."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"


def render_time(seconds: float) -> str:
    """The two largest units: 3 d 4 h, 5 min 6 s, 7 s."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or (parts and len(parts) < 2):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
