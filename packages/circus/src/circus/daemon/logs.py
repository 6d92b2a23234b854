"""Where circusd's own log goes: the ancestors' options and line format on the standard library's logging."""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
from urllib.parse import urlsplit

from circus.daemon import detach
from circus.errors import CircusError

LINE = "%(asctime)s %(name)s[%(process)d] [%(levelname)s] %(message)s"
DATE = "%Y-%m-%d %H:%M:%S"
SYSLOG_DATE = "%b %d %H:%M:%S"
SYSLOG_PORT = 514


def configure(level: str, output: str, config_file: str | None = None) -> None:
    """Set up the root logger.

    Raises:
        CircusError: config-invalid, when the output cannot be opened or the logging configuration cannot be read.
    """
    if config_file and config_file != "default":
        _from_file(config_file)
        return
    root = logging.getLogger()
    root.setLevel(getattr(logging, level.upper(), logging.INFO))
    is_syslog = output.startswith("syslog://")
    try:
        handler = _syslog(output) if is_syslog else _stream_or_file(output)
    except (OSError, ValueError) as error:
        raise CircusError(
            "config-invalid",
            f"log output {output}: {getattr(error, 'strerror', None) or error}",
            "make its directory writable, or correct logoutput or --log-output",
        ) from None
    handler.setFormatter(logging.Formatter(LINE, SYSLOG_DATE if is_syslog else DATE))
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)


def goes_to_terminal() -> bool:
    """Whether circusd logs to the standard error that it was started with."""
    return any(getattr(handler, "stream", None) is sys.stderr for handler in logging.getLogger().handlers)


def _stream_or_file(output: str) -> logging.Handler:
    if output in detach.STREAMS:
        return logging.StreamHandler(sys.stderr)
    return logging.handlers.WatchedFileHandler(output)


def _syslog(output: str) -> logging.Handler:
    parts = urlsplit(output)
    address: str | tuple[str, int] = parts.path
    if parts.hostname:
        address = (parts.hostname, parts.port or SYSLOG_PORT)
    facility = parts.query or "user"
    if facility not in logging.handlers.SysLogHandler.facility_names:
        raise ValueError(f"there is no syslog facility {facility!r}")
    return logging.handlers.SysLogHandler(address, facility=facility)


def _from_file(path: str) -> None:
    import logging.config  # large, and only for those who ask for it

    try:
        if path.endswith(".json"):
            with open(path, encoding="utf-8") as file:
                logging.config.dictConfig({"disable_existing_loggers": False, **json.load(file)})
        else:
            logging.config.fileConfig(path, disable_existing_loggers=False)
    except Exception as error:
        what = f"logging configuration {path}: {error or type(error).__name__}"
        raise CircusError("config-invalid", what, "correct it, or loggerconfig or --logger-config") from error
