"""The one call: from the path of a file to a configuration that can be used, or to everything that is
wrong.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace

from circus.config import amend
from circus.config.amend import Edits
from circus.config.build import Builder, Draft
from circus.config.model import CircusConfig, ConfigInvalid, Finding
from circus.config.read import TOML, Document, read
from circus.config.validate import Host, validate


def load(path: str, environ: Mapping[str, str], *, host: Host | None = None) -> CircusConfig:
    """The configuration in the file at ``path`` and in those it includes; warnings are in ``.warnings``.

    ``environ`` is circusd's own environment.

    Raises:
        ConfigInvalid: with every error that was found, and with the warnings.
    """
    draft, findings = examine(path, environ, host=host)
    if any(each.severity == "error" for each in findings):
        raise ConfigInvalid(findings)
    return replace(draft.config, warnings=tuple(findings))


def of_document(document: Document, environ: Mapping[str, str], *, host: Host | None = None) -> CircusConfig:
    """As ``load``, of sections that no file has.

    Raises: ConfigInvalid.
    """
    draft = Builder(document, environ).build()
    findings = draft.findings + validate(draft, environ, host or Host())
    if any(each.severity == "error" for each in findings):
        raise ConfigInvalid(findings)
    return replace(draft.config, warnings=tuple(findings))


def amended(
    config: CircusConfig, edits: Edits, environ: Mapping[str, str], watchers: Iterable[str], *, host: Host | None = None
) -> CircusConfig:
    """What ``config``, as it was loaded, becomes by ``edits``; of its watchers these are checked anew.

    Raises:
        ConfigInvalid: with every error that the edits make.
    """
    assert config.document is not None
    draft = Builder(amend.laid_over(config.document, edits), environ).build()
    names = frozenset(watchers)
    meant = [pair for pair in draft.watchers if pair[0].name.lower() in names]
    findings = draft.findings + validate(replace(draft, watchers=meant), environ, host or Host())
    if any(each.severity == "error" for each in findings):
        raise ConfigInvalid(findings)
    of_file = [each for each in config.warnings if each.file != amend.BY_HAND]
    made = [each for each in findings if each.file == amend.BY_HAND]
    return replace(draft.config, warnings=(*of_file, *made), document=config.document)


def examine(path: str, environ: Mapping[str, str], *, host: Host | None = None) -> tuple[Draft, list[Finding]]:
    """What the file says as far as it can be understood, and all that is wrong with it, in the order of reading."""
    environ = dict(environ)  # os.environ decodes each variable whenever it is asked
    document = read(path, environ)
    draft = Builder(document, environ).build()
    findings = draft.findings
    if document.sections or not any(each.severity == "error" for each in findings):
        findings = findings + validate(draft, environ, host or Host())
    return draft, in_order(path, [_as_its_file_writes(each) for each in findings])


def _as_its_file_writes(finding: Finding) -> Finding:
    if not finding.file.endswith(TOML):
        return finding
    from circus.config.toml import as_toml  # only those who use it need it

    return replace(finding, what=as_toml(finding.what), hint=as_toml(finding.hint))


def in_order(path: str, findings: Iterable[Finding]) -> list[Finding]:
    """As one reads: the file at ``path`` first, the others by name."""
    main = (path, os.path.abspath(path))
    return sorted(findings, key=lambda each: (each.file not in main, each.file, each.line))
