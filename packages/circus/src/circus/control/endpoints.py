"""Where a circusd listens: its name, and the path of its control socket, from what a person wrote.

circusd and circusctl must agree on this without talking, so it stands here once. Imported by circusctl before
anything else: standard library and papa.places only.
"""

from __future__ import annotations

import os
import re

from circus.errors import CircusError
from papa import places

DEFAULT_NAME = "default"

#: Of a name, as the configuration takes it.
MAX_NAME = 64

#: The ancestors' default endpoint; whoever writes it out means the default circusd.
ANCESTORS_ENDPOINT = "tcp://127.0.0.1:5555"

FORMS = "NAME, /path or unix:///path of its control socket, or the endpoint that its configuration has"

_PREFIX, _SUFFIX = "circus-", ".sock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def socket_path(name: str) -> str:
    """The control socket of the circusd called ``name``."""
    return f"{places.runtime_root()}/{_PREFIX}{name}{_SUFFIX}"


def name_of_endpoint(endpoint: str) -> str:
    """The name of a circusd that has none of its own, from the ancestors' ``endpoint``.

    As the configuration derives it: ``tcp://127.0.0.1:5560`` gives ``tcp-127.0.0.1-5560``; nothing, and the
    ancestors' default, give
    ``default``.
    """
    if endpoint in ("", ANCESTORS_ENDPOINT):
        return DEFAULT_NAME
    name = re.sub(r"[^A-Za-z0-9._]+", "-", endpoint).strip("-._")
    if len(name) > MAX_NAME:
        # Imported for the rare case alone.
        import hashlib

        name = f"{name[: MAX_NAME - 9]}-{hashlib.sha256(endpoint.encode()).hexdigest()[:8]}"
    return name or DEFAULT_NAME


def resolve(endpoint: str | None) -> str:
    """The path of the control socket that ``endpoint`` names (see FORMS; nothing is the default circusd).

    Raises: CircusError usage when it has none of the known forms.
    """
    if not endpoint:
        return socket_path(DEFAULT_NAME)
    path = endpoint.removeprefix("unix://")
    if path.startswith("/") and not path.endswith("/") and "\0" not in path:
        return os.path.normpath(path)
    if path != endpoint:
        raise CircusError("usage", f"{endpoint!r} is no endpoint of a circusd", f"use {FORMS}")
    if "://" in endpoint:
        return socket_path(name_of_endpoint(endpoint))
    if len(endpoint) > MAX_NAME or not _NAME.fullmatch(endpoint):
        raise CircusError("usage", f"{endpoint!r} is no endpoint of a circusd", f"use {FORMS}")
    return socket_path(endpoint)


def name_of_socket(path: str) -> str | None:
    """The name of the circusd whose control socket this is; None: it does not say so."""
    name = os.path.basename(path).removeprefix(_PREFIX).removesuffix(_SUFFIX)
    return name if socket_path(name) == path else None


def known_names() -> list[str]:
    """Names of the circusds whose control sockets lie in the runtime root, whether or not they answer."""
    try:
        entries = os.listdir(places.runtime_root())
    except OSError:
        return []
    return sorted(
        entry[len(_PREFIX) : -len(_SUFFIX)]
        for entry in entries
        if entry.startswith(_PREFIX) and entry.endswith(_SUFFIX) and len(entry) > len(_PREFIX + _SUFFIX)
    )
