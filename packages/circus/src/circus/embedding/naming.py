"""What a circus inside a program is called: its name in papa, of its control socket and of its directory of state.

One that has an endpoint or a name of its own has that, as circusd would; a second one of the same name is refused.
All others are called by the program, with the lowest number that is free. So two that run at once never meet; and of
one that was killed the next start of that program gets the name, and with it what runs on in papa.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys

from circus.config.build import name_of_endpoint
from circus.control import endpoints
from circus.control.claim import Claim, claim
from circus.errors import CircusError

#: Of one program at a time; a lock file for each number stays behind.
MAX_NUMBER = 1000

#: Of a program's name, so that with what follows it is shorter than a name may be.
MAX_STEM = 40


def program_path() -> str:
    """Where findings about what a program gives point to, and by which it knows its own in papa."""
    return os.path.abspath(sys.argv[0]) if sys.argv and sys.argv[0] not in ("", "-c") else "/python"


def fixed_name(name: str | None, controller: str | None) -> str | None:
    if name:
        return name
    return name_of_endpoint(controller) if controller else None


def claimed(fixed: str | None, program: str, *, control: str | None = None, is_open: bool = False) -> tuple[str, Claim]:
    """The name, taken. Blocks while a predecessor of that name is leaving.

    ``control`` is a control socket that it shall have, ``is_open`` as in `claim`.

    Raises: CircusError conflict, when it is another's; limit, when too many are taken.
    """
    if control:
        return fixed or name_of_endpoint(control), claim(endpoints.resolve(control), is_open=is_open)
    if fixed is not None:
        return fixed, claim(endpoints.resolve(fixed), is_open=is_open)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", os.path.basename(program)).strip("-._")[:MAX_STEM] or "python"
    mark = hashlib.sha256(program.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    for number in range(1, MAX_NUMBER + 1):
        name = f"{stem}-{mark}-{number}"
        try:
            return name, claim(endpoints.socket_path(name), is_open=is_open)
        except CircusError as error:
            if error.code != "conflict":
                raise
    raise CircusError("limit", f"{MAX_NUMBER} circuses of {program} run already", "end some of them")
