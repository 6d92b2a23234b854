"""What a failed start says: its stage and errno as one sentence, and what to do where that is known.

Where the stages are gone through is papa.kernel.spawn.
"""

from __future__ import annotations

import errno
import os

from papa.errors import PapaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from papa.model import ProcessSpec

#: Where execvp(3) looks when the environment has no PATH.
DEFAULT_PATH = "/bin:/usr/bin"


class StageError(Exception):
    """A stage of a start failed, with an errno."""

    def __init__(self, stage: str, number: int) -> None:
        super().__init__(stage, number)
        self.stage = stage
        self.errno = number


def explain(spec: ProcessSpec, argv: list[str], error: StageError) -> PapaError:
    reason = os.strerror(error.errno)
    program = spec.executable or argv[0]
    hint = ""
    what = reason
    if error.stage == "chdir":
        what = f"working directory {spec.cwd or '/'}: {reason}"
        if error.errno == errno.ENOENT:
            what = f"working directory {spec.cwd or '/'} does not exist"
    elif error.stage == "exec":
        what = f"program {program}: {reason}"
        if error.errno == errno.ENOENT and "/" not in program:
            what = f"program {program} is not on the PATH {spec.env.get('PATH', DEFAULT_PATH)}"
        elif error.errno == errno.ENOENT:
            what = f"program {program} does not exist, or the interpreter in its first line does not"
        elif error.errno == errno.E2BIG:
            what = "arguments and environment are larger than the system takes"
        elif error.errno == errno.ENOEXEC:
            hint = "a script needs a first line like #!/bin/sh"
    elif error.stage in ("setuid", "setgid", "setgroups"):
        what = f"cannot become uid {spec.uid}, gid {spec.gid}: {reason}"
        if error.errno == errno.EPERM:
            hint = f"the kernel runs as uid {os.geteuid()}; only root may become another user"
    elif error.stage == "rlimit":
        what = f"limits {_words(spec)}: {reason}"
        if error.errno == errno.EPERM:
            hint = "only root may raise a hard limit"
    elif error.stage in ("nice", "oom_score_adj"):
        what = f"{error.stage} {getattr(spec, error.stage)}: {reason}"
        if error.errno in (errno.EACCES, errno.EPERM):
            hint = "only root may ask for more than the kernel has itself"
    elif error.stage == "descriptors":
        what = "its limit nofile is below the number of a socket that it is handed"
        hint = "raise rlimit nofile"
    elif error.stage == "fork":
        what = f"no new process: {reason}"
        hint = "look at the limits on processes and memory of this user and of the control group"
    return PapaError(
        f"{spec.name}: cannot start: {what} (stage {error.stage})",
        code="spawn-failed",
        hint=hint,
        details={"stage": error.stage, "errno": error.errno},
    )


def _words(spec: ProcessSpec) -> str:
    return ", ".join(
        f"{name} {soft}" + ("" if hard is None else f":{hard}") for name, (soft, hard) in spec.rlimits.items()
    )
