"""Options that run on because those of the file were not rolled out: as the next circusd remembers them.

One that is killed while it rolls, or after what it rolled to was refused, is followed by one that goes on with what ran
before, as long as the file says what was refused. A file that says something else by then is obeyed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from circus.config import expand
from circus.config.model import CircusConfig, WatcherConfig
from circus.errors import CircusError
from circus.hooks import HookSet

log = logging.getLogger("circus.memory")

#: What is told if nobody has heard how it would have ended.
CUT_SHORT = "circusd ended while it was rolled out"


def encode(former: WatcherConfig, refused: WatcherConfig, path: str, why: str = CUT_SHORT) -> dict[str, str] | None:
    """For the memory; None if that cannot hold it."""
    try:
        config = base64.b64encode(msgspec.msgpack.encode(former)).decode()
    except (UnicodeEncodeError, TypeError, OverflowError) as error:
        log.warning("%s: its options of before cannot be remembered: %s", former.name, error)
        return None
    return {"file": path, "config": config, "refused": digest_of(refused), "why": why}


def recall(config: CircusConfig, remembered: Mapping[str, Mapping[str, str]]) -> tuple[CircusConfig, dict[str, str]]:
    """``config`` with watchers as they ran, and watcher -> why it does not run as the file has it."""
    watchers, why = [], {}
    for each in config.watchers:
        content = remembered.get(each.name.lower())
        former = None if content is None else _decode(content, each, config)
        watchers.append(each if former is None else former)
        if content is not None and former is not None:
            why[each.name] = content["why"]
    return replace(config, watchers=tuple(watchers)), why


def _decode(content: Mapping[str, str], filed: WatcherConfig, config: CircusConfig) -> WatcherConfig | None:
    try:
        if (content["file"], content["refused"]) != (config.path, digest_of(filed)):
            return None
        former = config_of(content)
        HookSet.of(former)
    except (KeyError, ValueError, binascii.Error, msgspec.MsgspecError, CircusError) as error:
        log.warning("%s: what it ran with is remembered and of no use: %s", filed.name, error)
        return None
    missing = set(expand.socket_references(former)) - {each.name for each in config.sockets}
    if former.name != filed.name or missing:
        log.warning("%s: what it ran with is of no use without socket %s", filed.name, ", ".join(sorted(missing)))
        return None
    return former


def config_of(content: Mapping[str, str]) -> WatcherConfig:
    """Raises: KeyError, ValueError, msgspec.MsgspecError."""
    return msgspec.msgpack.decode(base64.b64decode(content["config"], validate=True), type=WatcherConfig)


def digest_of(config: WatcherConfig) -> str:
    """Of all that is said of it, wherever that stands."""
    said = repr(replace(config, file="", line=0))
    return hashlib.sha256(said.encode("utf-8", "surrogateescape")).hexdigest()
