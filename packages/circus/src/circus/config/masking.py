"""What of a text may be a secret, and is not shown: by the names of variables and options, and in addresses. Pure.

Nothing is ever guessed from a value. What has a name that promises a secret is hidden whole; in any other text the
user's part of an address is, and what stands in its query under such a name.
"""

from __future__ import annotations

import re

#: In place of what is not shown.
MASK = "***"

_WORDS = r"(?:pass(?:word|wd|phrase)?|pwd|token|secret|key|credential|signature|sig|auth)"
_SECRET = re.compile(r"pass(word|wd|phrase)|pwd|token|secret|key|credential", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/?#\s@]+(?=@)")
#: `?` or `&` before it tells the query of an address from an option of a command.
_QUERY = re.compile(rf"([?&;][^=&;#\s]*{_WORDS}[^=&;#\s]*=)[^&;#\s'\"]*", re.IGNORECASE)
_BEHIND_HOST = re.compile(r"^(\w+://[^/?#]*)(/?)(.*)$", re.DOTALL)


def is_secret(name: str) -> bool:
    """Whether an option or a variable of this name promises to hold a secret."""
    return _SECRET.search(name) is not None


def mask_addresses(text: str) -> str:
    """``text`` without the user's part of each address in it, and without what its query has under a telling name."""
    if "://" not in text:
        return text
    return _QUERY.sub(rf"\g<1>{MASK}", _USERINFO.sub(MASK, text))


def mask_behind_host(url: str) -> str:
    """Of an address whose path may be the secret, as those of web-hooks are: only where it leads to."""
    found = _BEHIND_HOST.match(_USERINFO.sub(MASK, url))
    if found is None:
        return MASK
    return f"{found[1]}{found[2]}{MASK if found[3] else ''}"
