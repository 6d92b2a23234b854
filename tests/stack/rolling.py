"""The stack with nginx and uWSGI that roll: nginx, too, has its socket from papa, and may be doubled."""

from __future__ import annotations

from examples.stack.show import Stack

#: nginx takes listening sockets from a predecessor of its by this variable, and here from papa.
NGINX = "cmd = /usr/bin/env 'NGINX=$(circus.sockets.front);' /usr/sbin/nginx -g 'pid nginx-$(circus.wid).pid;'"
FRONT = "\n[socket:front]\nhost = 127.0.0.1\nport = {}\nuse_papa = true\n"
ROLLS = "max_surge = 1\nsoak = 1\nupdate = roll\n"


def rolling(stack: Stack) -> None:
    """The stack's nginx is a single process that is never doubled; this one may be."""
    port = stack.url.rstrip("/").rpartition(":")[2]
    edit(stack, "nginx/nginx.conf", ("pid nginx.pid;\n", ""))
    edit(
        stack,
        "circus.ini",
        ("cmd = /usr/sbin/nginx", NGINX),
        ("singleton = true\nsend_hup = true\n", f"use_sockets = true\n{ROLLS}"),
        ("stop_signal = QUIT\nuse_sockets = True\n", f"stop_signal = QUIT\nuse_sockets = True\n{ROLLS}"),
        ("[plugin:flapping]", FRONT.format(port) + "\n[plugin:flapping]"),
    )


def edit(stack: Stack, name: str, *changes: tuple[str, str]) -> None:
    text = stack.read(name)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    (stack.folder / name).write_text(text)
