"""The one call: from the path of a file to a configuration that can be used, or to everything that is
wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from circus.config.build import Builder
from circus.config.model import CircusConfig, ConfigInvalid, Finding
from circus.config.read import read
from circus.config.validate import Host, validate


def load(path: str, environ: Mapping[str, str], *, host: Host | None = None) -> CircusConfig:
    """The configuration in the file at ``path`` and in those it includes; warnings are in ``.warnings``.

    ``environ`` is circusd's own environment.

    Raises:
        ConfigInvalid: with every error that was found, and with the warnings.
    """
    document = read(path, environ)
    if not document.sections and any(each.severity == "error" for each in document.findings):
        raise ConfigInvalid(document.findings)
    draft = Builder(document, environ).build()
    findings = draft.findings + validate(draft, environ, host or Host())
    findings.sort(key=lambda each: _place(document.path, path, each))
    if any(each.severity == "error" for each in findings):
        raise ConfigInvalid(findings)
    return replace(draft.config, warnings=tuple(findings))


def _place(main: str, path: str, finding: Finding) -> tuple[bool, str, int]:
    """The order of reading: the main file first, the others by name."""
    return finding.file not in (main, path), finding.file, finding.line
