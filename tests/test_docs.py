"""The documentation is true: what the tutorial shows is what happens, and what is referred to is there."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from circus.cli.commands import COMMANDS
from circus.config import options
from tests.house import BIN, ROOT

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "bench/README.md", ROOT / "examples/stack/README.md"]
TUTORIAL = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
MOVING = (ROOT / "docs/migrating.md").read_text(encoding="utf-8")

#: From here on the tutorial needs packages of the system.
STACK = "\n## 12."

#: The home of whoever ran what is shown.
HOME = "/home/ann"

#: The environment is there already when a test runs.
INSTALLATION = ("make ", ". .venv/")

#: Commands that change nothing: they may be asked again until what was begun has come to its end.
QUESTIONS = ("circusctl status", "papa status", "awk ", "grep ", "sort ", "tail ")

#: What is shown -> a pattern of what another run may print. Numbers of one digit are compared, but in these.
VARYING = (
    (r"\d+\.\d+\.\d+[.\w]*,", r"[\d.]+\w*,"),
    (r"for \w+$", r"for \w+"),
    (r"up +\d+ s,", r"up +.*,"),
    (r"^  (?:disk|python|code) +.*$", r"  \w+ +.*"),
    (r"[1-9][\d.]* [kM]?B", r"[\d.]+ [kM]?B"),
    (r"PATH [^ ]+", r"PATH [^ ]+"),
    (r"\d{2,}", r"\d+"),
)

#: A command of the tutorial that takes longer hangs.
BLOCK_S = 30.0


class Terminal:
    """A shell that is told one block after the other."""

    def __init__(self, home: Path) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PAPA_", "PYTHON"))}
        self._shell = subprocess.Popen(
            ["bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**kept, "HOME": str(home), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
            cwd=home,
        )

    def type(self, block: str) -> str:
        """What it prints."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        end = b"\x04\n"
        self._shell.stdin.write(block.encode() + b"printf '\\004\\n'\n")
        self._shell.stdin.flush()
        printed, deadline = b"", time.monotonic() + BLOCK_S
        while not printed.endswith(end):
            ready, _, _ = select.select([self._shell.stdout], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no end within {BLOCK_S} s:\n{block}\n{printed.decode()}"
            chunk = os.read(self._shell.stdout.fileno(), 1 << 16)
            assert chunk, f"the shell ended:\n{block}\n{printed.decode()}"
            printed += chunk
        return printed[: -len(end)].decode()

    def close(self) -> None:
        self._shell.kill()
        self._shell.communicate()


@pytest.fixture
def terminal(runtime_root: Path) -> Iterator[Terminal]:
    terminal = Terminal(runtime_root)
    yield terminal
    terminal.close()


def blocks(page: str) -> list[tuple[str, str]]:
    """What is typed, and what it prints."""
    found = re.findall(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", page, re.MULTILINE | re.DOTALL)
    return [(_without_installation(typed), printed) for typed, printed in found]


def _without_installation(typed: str) -> str:
    return "".join(line for line in typed.splitlines(keepends=True) if not line.startswith(INSTALLATION))


def pattern_of(shown: str, home: str) -> re.Pattern[str]:
    varying = re.compile("|".join(f"({each})" for each, _ in VARYING), re.MULTILINE)
    text, at = "", 0
    for match in varying.finditer(shown):
        assert match.lastindex is not None
        text += re.escape(shown[at : match.start()]) + VARYING[match.lastindex - 1][1]
        at = match.end()
    text += re.escape(shown[at:])
    return re.compile(text.replace(re.escape(HOME), re.escape(home)))


@pytest.mark.timeout(300)
def test_the_tutorial_does_what_it_shows(terminal: Terminal, runtime_root: Path) -> None:
    for typed, shown in blocks(TUTORIAL.partition(STACK)[0]):
        expected = pattern_of(shown, str(runtime_root))
        printed = terminal.type(typed)
        if all(line.startswith(QUESTIONS) for line in typed.splitlines()):
            deadline = time.monotonic() + BLOCK_S
            while not expected.fullmatch(printed) and time.monotonic() < deadline:
                printed = terminal.type(typed)
        assert expected.fullmatch(printed), f"\n{typed}\nshown:\n{shown}\nprinted:\n{printed}"


def test_a_pattern_lets_pids_and_times_vary_and_nothing_else() -> None:
    shown = f"web.1 running pid 812 for 7s\n{HOME}/shop.ini:13: 3 lines\n"
    pattern = pattern_of(shown, "/tmp/x")
    assert pattern.fullmatch("web.1 running pid 7 for 1m02s\n/tmp/x/shop.ini:13: 3 lines\n")
    assert not pattern.fullmatch("web.2 running pid 812 for 7s\n/tmp/x/shop.ini:13: 3 lines\n")
    assert not pattern.fullmatch("web.1 running pid 812 for 7s\n/tmp/x/shop.ini:13: 4 lines\n")
    assert not pattern.fullmatch(shown.replace(HOME, "/tmp/x") + "warning: more\n")


def test_a_file_can_be_tried_beside_what_runs(runtime_root: Path, tmp_path: Path) -> None:
    shown = re.search(r"^\$ \.venv/bin/(circusctl [^\n]*) (/\S+)$\n(.*?)^```$", MOVING, re.MULTILINE | re.DOTALL)
    assert shown is not None
    old = tmp_path / "circus.ini"
    old.write_text(
        "[circus]\nendpoint = tcp://127.0.0.1:5560\n[watcher:web]\n"
        f"cmd = touch {tmp_path}/started\ncopy_env = true\n"
        "stdout_stream.refresh_time = 0.3\n"
        f"stdout_stream.filename = {tmp_path}/web.log\nhooks.after_start = a.b\nhooks.after_stop = a.b\n"
        "[watcher:worker]\ncmd = sleep 1\ncopy_env = true\nnumprocesses = many\n"
    )
    done = subprocess.run([BIN / shown[1].split()[0], *shown[1].split()[1:], old], capture_output=True, text=True)
    assert done.returncode == 1
    assert _without_places(done.stdout) == _without_places(shown[3])
    assert not (tmp_path / "started").exists()


def _without_places(lines: str) -> str:
    return re.sub(r"(?<!\w)/\S+?/(\w+\.\w+)(:\d+)?", r"\1", lines)


# What is referred to ----------------------------------------------------------------------------------------


def anchors(page: str) -> set[str]:
    """Of its headings, as renderers of Markdown make them."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """(text, file, anchor) of the links that stay within the project."""
    for text, target in re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            yield text, (page.parent / file).resolve() if file else page, anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_every_named_file_is_there(page: Path) -> None:
    for text, file, anchor in links(page):
        assert file.exists(), f"[{text}] leads to {file}"
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"[{text}] leads to #{anchor} of {file}"
    named = re.findall(r"`((?:docs|packages|tests|examples|bench|requirements|\.ci)/[^`\s:*]+)[`:]", page.read_text())
    named += re.findall(r"`([A-Z]+\.md)`", page.read_text())
    missing = [name for name in named if not (ROOT / name).exists() and not (page.parent / name).exists()]
    assert not missing


def test_every_page_is_on_the_map() -> None:
    mapped = {file for _, file, _ in links(ROOT / "docs/index.md")}
    assert set(ROOT.glob("docs/*.md")) - mapped == {ROOT / "docs/index.md"}


def test_every_promise_is_proven_by_a_test_that_exists() -> None:
    proofs = [(text.strip("`"), file) for text, file, _ in links(ROOT / "docs/guarantees.md") if file.suffix == ".py"]
    assert len(proofs) > 20
    missing = [f"{file}: {name}" for name, file in proofs if f"def {name}(" not in file.read_text()]
    assert not missing


def test_every_row_of_a_guarantee_names_its_proof() -> None:
    page = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\|.*\| proven by \|\n\|[-|]+\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]
    proven = [row for row in rows if re.search(r"\[`test_\w+`\]\([^)]+\.py\) ?[^|]*\|$|`make soak` \|$", row)]
    others = [row for row in rows if row not in proven]
    assert len(proven) > 100
    assert [row for row in others if not row.endswith("| *not proven: see below* |")] == []


def test_every_emphasised_word_is_in_the_glossary() -> None:
    glossary = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    defined = {word for row in re.findall(r"^\| ([^|]+) \|", glossary, re.MULTILINE) for word in row.split(", ")}
    emphasised = re.findall(r"(?<![*\w])\*(\w[\w -]*)\*(?!\*)", (ROOT / "docs/how-it-works.md").read_text())
    assert len(emphasised) > 5
    assert set(emphasised) - defined == set()


def test_the_page_about_moving_over_has_all_that_is_not_there() -> None:
    _, _, page = MOVING.partition("\n## Not there yet")
    named = set(re.findall(r"`(\w+)`", page))
    tables = (options.CIRCUS, options.WATCHER, options.STREAM, options.SOCKET)
    idle = {option.name for table in tables for option in table.values() if option.idle}
    known = {option.name for table in tables for option in table.values()}
    assert idle - named == set()
    # What has come since is no longer listed; these are named as what is there.
    assert named & ((known - idle) | set(COMMANDS)) <= {"reloadconfig", "max_bytes", "backup_count"}
