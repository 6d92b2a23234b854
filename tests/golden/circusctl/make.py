"""Makes the pages anew: `make golden`, or `python -m tests.golden.circusctl.make PAGE...` for some."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from circus.testing.circusd import FakeCircusd
from tests.golden.circusctl import scenes, screen, world
from tests.golden.circusctl.screen import VARIANTS, Shown, Variant, readable
from tests.house import wait_for

PAGES = Path(__file__).parent / "pages"

#: Below it lies all that circusctl and circusd use; on pages it is another one, of the same length.
_BEGIN, _SHOWN = "/tmp/golden", "/run/user/1000/papa"

Listener = Callable[[FakeCircusd], None]


def path_of(page: str) -> Path:
    return PAGES / f"{page.replace(' ', '-')}.txt"


def text_of(page: str) -> str:
    """Each command line once, and what it shows, where."""
    played = [play(page, variant) for variant in VARIANTS]
    return "\n".join(_part(each[0][0], [shown for _, shown in each]) for each in zip(*played, strict=True))


def _part(line: str, shown: list[Shown]) -> str:
    """What is the same at several places is told once."""
    told = [f"$ circusctl {line}\n"]
    places: dict[Shown, list[str]] = {}
    for variant, each in zip(VARIANTS, shown, strict=True):
        places.setdefault(_as_people_see(each) if _is_same(shown) else each, []).append(variant.name)
    for each, names in places.items():
        told.append(f"--- {'everywhere' if len(names) == len(VARIANTS) else ', '.join(names)}\n")
        told.append(_ended(readable(each.text)))
        if each.told:
            told.append(f"--- {', '.join(names)}: standard error\n{_ended(readable(each.told))}")
    told.append(f"--- exit status {', '.join(dict.fromkeys(str(each.status) for each in shown))}\n")
    return "".join(told)


def _as_people_see(shown: Shown) -> Shown:
    return Shown(shown.status, shown.text + shown.told)


def _is_same(shown: list[Shown]) -> bool:
    return len({_as_people_see(each) for each in shown}) == 1


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\\\n"


def play(page: str, variant: Variant, *options: str) -> list[tuple[str, Shown]]:
    """The command lines of a page, with ``options`` before them, and what they show."""
    found = []
    with _place() as folder, standing_circusd(folder) as circusd:
        for line in scenes.lines_of(page):
            command, *needs = (each.strip() for each in f" {line}".split(" # "))
            told = dict(need.partition(" ")[::2] for need in needs)
            words = [*options, *shlex.split(command.replace("{folder}", str(folder)))]
            with _meanwhile(told.get("meanwhile", ""), circusd):
                shown = screen.run(words, variant, until=told.get("until", ""), typed=told.get("typed", ""))
            if "quiet" not in told:
                placed = Shown(shown.status, _placed(shown.text, folder), _placed(shown.told, folder))
                typed = f" <<< {told['typed']!r}" if "typed" in told else ""
                found.append((f"{command.replace('{folder}', _SHOWN)}{typed}".strip(), placed))
    return found


def _placed(text: str, folder: Path) -> str:
    return text.replace(str(folder), _SHOWN)


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=_BEGIN, dir="/"))
    assert len(str(folder)) == len(_SHOWN), folder
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def standing_circusd(folder: Path) -> Iterator[FakeCircusd]:
    """The world at ``folder``, in which nothing moves; it is the one that circusctl asks."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(world.in_utc())
        stack.enter_context(mock.patch.dict(os.environ, PAPA_RUNTIME_DIR=str(folder)))
        os.environ.pop("CIRCUSCTL_ENDPOINT", None)
        for target, name, value in world.still():
            stack.enter_context(mock.patch.object(target, name, value))
        world.make_files(folder)
        yield stack.enter_context(FakeCircusd(world.make_engine(folder), f"{folder}/circus-default.sock"))


@contextlib.contextmanager
def _meanwhile(what: str, circusd: FakeCircusd) -> Iterator[None]:
    if not what:
        yield
        return
    thread = threading.Thread(target=functools.partial(_publish, circusd))
    thread.start()
    try:
        yield
    finally:
        thread.join()
    wait_for(lambda: not circusd.ops.listeners, "the listener has left")


def _publish(circusd: FakeCircusd) -> None:
    wait_for(lambda: circusd.ops.listeners, "a listener")
    for event in world.events():
        circusd.call(functools.partial(circusd.engine.bus.publish, event))


def main(pages: list[str]) -> None:
    known = [*scenes.SCENES, scenes.HELP]
    PAGES.mkdir(exist_ok=True)
    for page in pages or known:
        path_of(page).write_text(text_of(page), encoding="utf-8")
    if not pages:
        for path in set(PAGES.iterdir()) - {path_of(page) for page in known}:
            path.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
