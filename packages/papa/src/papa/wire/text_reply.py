"""The text language, written: replies, list lines and the frames of a watch, as papa 1.x clients read them.

An answer ends in the prompt. A row becomes ``NAME key=value key=value ...`` with its keys in a fixed order;
line breaks inside become spaces there, because a line is all that the reader has.
"""

from __future__ import annotations

from papa.wire import messages
from papa.wire.text_lines import harmless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from papa.errors import PapaError

GREETING = b'Papa is home. Type "help" for commands.\n> '
PROMPT = b"> "
#: After it papa waits for a line that acknowledges what was shown.
FRAME_END = b"] "

#: How papa 1.x began its errors about these stages of a start.
_STAGES = {"exec": "Bad command - ", "chdir": "Bad working_dir - "}

_SOCKET_KEYS = (
    "family",
    "type",
    "backlog",
    "path",
    "umask",
    "host",
    "port",
    "interface",
    "reuseport",
    "fileno",
)


def render_reply(op: str, ok: Mapping[str, Any], *, is_watched: bool = False) -> bytes:
    """The answer to a request that succeeded."""
    if op == "list":
        return answer("\n".join(sorted(render_row(item) for item in ok["items"] if item.get("name") is not None)))
    if op in ("spawn", "listen"):
        return encode(render_row(ok) + "\n") if is_watched else answer(render_row(ok))
    if op == "get":
        return answer(ok.get("value") or "")
    if op == "exit":
        return answer("Exiting papa!")
    return answer("")


def render_error(op: str, error: PapaError) -> bytes:
    if op == "exit" and error.code == "busy":
        return answer("not idle")
    begin = _STAGES.get(str(error.details.get("stage")), "") if op == "spawn" else ""
    words = (begin + str(error))[: messages.MAX_ERROR_TEXT].split()
    return answer("Error: " + harmless(" ".join(words)))


def answer(said: str) -> bytes:
    """*said*, a line break unless it ends in one, and the prompt."""
    return encode(said if said.endswith("\n") else said + "\n") + PROMPT


def render_output(stream: str, name: str, wall_ns: int, data: bytes) -> bytes:
    """Output in a watch: *stream* is ``out`` or ``err``."""
    return encode(f"{stream}:{name}:{wall_ns / 1e9!r}:{len(data)}\n") + data + b"\n"


def render_closed(name: str, at: float, status: int | None) -> bytes:
    """An exit in a watch. An unknown status is shown as 255, because the reader expects a number."""
    return encode(f"closed:{name}:{float(at)!r}:{255 if status is None else status}\n")


def render_watch_begin(count: int, *, is_for_eyes: bool) -> bytes:
    return encode(f"Watching {count}" + (". Press Enter to stop.\n" if is_for_eyes else "\n"))


def render_watch_end(is_stopped: bool) -> bytes:
    return answer("Stopped watching" if is_stopped else "Nothing left to watch")


def encode(said: str) -> bytes:
    try:
        return said.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # Surrogates that stand for no byte, which a value may have that came in frames.
        return said.encode("utf-8", "surrogatepass")


def render_row(row: Mapping[str, Any]) -> str:
    """The list line of a process, a socket or a value."""
    if "value" in row:
        return _one_line(f"{row['name']} {row['value']}")
    pairs = _process_pairs(row) if "pid" in row else _socket_pairs(row)
    return _one_line(" ".join([str(row["name"]), *(f"{key}={value}" for key, value in pairs)]))


def _process_pairs(row: Mapping[str, Any]) -> Iterable[tuple[str, object]]:
    yield "pid", row["pid"]
    yield "running", row["running"]
    yield "started", repr(float(row["started_at"]))
    for key in ("uid", "gid"):
        if row.get(key) is not None:
            yield key, row[key]
    argv = row["argv"]
    if row.get("meta", {}).get("shell"):
        yield "shell", True
        argv = argv[2:]
    yield "args", " ".join(argv)


def _socket_pairs(row: Mapping[str, Any]) -> Iterable[tuple[str, object]]:
    for key in _SOCKET_KEYS:
        value = row.get(key)
        if key == "reuseport":
            if value:
                yield key, 1
                # papa 1.x has no number for such a socket.
                return
        elif value is not None:
            yield key, value


def _one_line(line: str) -> str:
    return line.replace("\r", " ").replace("\n", " ")
