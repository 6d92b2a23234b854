"""What answers do not show unless somebody asks for it who may: values of environments, and what may be secret.

The rules are those of a plan (`config.masking`): the environment by value, options that only their names explain by
their names, addresses in any text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from circus.config import options
from circus.config.masking import MASK, is_secret, mask_addresses
from circus.errors import CircusError

_KNOWN = frozenset((*options.WATCHER, *options.CIRCUS, *options.SOCKET))


def mask_options(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a watcher, of a socket or of circusd, by the names of a file; ``env`` may be among them."""
    return {name: mask_option(name, value) for name, value in shown.items()}


def mask_option(name: str, value: Any) -> Any:
    """Numbers and flags are as they are, whatever their name; so is what is not set."""
    if name == "env" and isinstance(value, Mapping):
        return dict.fromkeys(value, MASK)
    if isinstance(value, str):
        if not value:
            return value
        if name.startswith("env.") or (name not in _KNOWN and is_secret(name)):
            return MASK
        return mask_addresses(value)
    if isinstance(value, tuple | list):
        return [mask_addresses(each) if isinstance(each, str) else each for each in value]
    return value


def check_unmasked(texts: Mapping[str, str]) -> None:
    """Who has asked for options and gives them back has not seen what the masked ones were.

    Raises: CircusError bad-request.
    """
    for name, text in texts.items():
        if text == MASK and mask_option(name, text + "x") == MASK:
            raise CircusError(
                "bad-request",
                f"{name} = {MASK} is what is shown in place of its value",
                "ask for the options with reveal (circusctl options NAME --reveal), or leave it out",
            )
