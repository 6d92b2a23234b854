"""The program on the screen: what its screens share, and how an order is given."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shlex
import signal
from typing import ClassVar

from textual import work
from textual.app import App

from circus.cli import operations
from circus.control.client import Client
from circus.errors import CircusError
from circus.tui import orders, sparks
from circus.tui.boards import Board
from circus.tui.dialogs import Ask, Confirm
from circus.tui.link import OPEN, Link
from circus.tui.orders import Action, Order, Target
from circus.tui.overview import Overview
from circus.tui.painting import Line
from circus.tui.watching import Watching


class CircusTop(App[None]):
    """``endpoint`` as it was given, for the lines of circusctl; ``levels`` are the characters of curves."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { overflow: hidden; }
    Lister { height: 1fr; }
    ModalScreen { align: left bottom; }
    .dialog { height: auto; border-top: ascii; background: $background; }
    .dialog Lister { height: 11; }
    """
    BINDINGS: ClassVar = [("ctrl+c", "quit", "")]

    def __init__(self, client: Client, *, endpoint: str = "", levels: str = sparks.BLOCKS) -> None:
        # Said before the theme is: without colours, black letters would stand on black.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.endpoint, self.levels = endpoint, levels
        self.message: Line = ()
        self.link = Link(client)
        self.watching = Watching(
            self.link, on_change=self._on_change, is_shown=lambda: isinstance(self._board, Overview)
        )

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGHUP):
            # The terminal gets back what stood there before.
            loop.add_signal_handler(signum, self._end, signum)
        self.push_screen(Overview())
        self.run_worker(self.watching.run())

    def _end(self, signum: int) -> None:
        self.exit(return_code=128 + signum)

    def on_unmount(self) -> None:
        self.link.close()

    @property
    def _board(self) -> Board | None:
        """The topmost screen that is no dialog."""
        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, Board)), None)

    def _on_change(self) -> None:
        if (board := self._board) is not None:
            board.show_state()

    def say(self, text: str, style: str = "") -> None:
        """In the line for messages, until there is another one."""
        self.message = ((f" {text}", style),)
        self._on_change()

    def line(self, *words: str) -> str:
        """The command of circusctl with these words, for this circusd."""
        return shlex.join(["circusctl", *(["--endpoint", self.endpoint] if self.endpoint else []), *words])

    @work
    async def give(self, action: Action, target: Target) -> None:
        """Asks what has to be known, and whether to; then does it, and tells how far it is until it has ended."""
        said = ""
        if action.asks:

            def line_of(said: str) -> str:
                return orders.order(action, target, said=said, endpoint=self.endpoint).line

            usual = action.usual or str(self._count(target.watcher))
            answer = await self.push_screen_wait(Ask(action.asks, usual, line_of))
            if answer is None:
                return
            said = answer
        order = orders.order(action, target, said=said, endpoint=self.endpoint)
        if await self.push_screen_wait(Confirm(action.about, order.line)):
            await self._carry_out(order)

    def _count(self, watcher: str) -> int:
        """How many processes it is to have now."""
        return next((group.head.wanted for group in self.watching.groups if group.head.watcher == watcher), 1)

    async def _carry_out(self, order: Order) -> None:
        self.say(f"{order.line}: ordered", "cyan")
        try:
            answer = await self.link.post(*order.path, body=order.body)
            if "signalled" in answer:
                self.say(f"{order.line}: {answer['signalled']} got it", "green")
            else:
                await self._follow(order.line, answer["operation"])
        except CircusError as error:
            self.say(f"{order.line}: {error.message}{f' ({error.hint})' if error.hint else ''}", "bold red")

    async def _follow(self, line: str, id: str) -> None:
        async with contextlib.aclosing(self.link.listen("operations", id, "events")) as events:
            async for heard in events:
                if heard.kind == "end":
                    self._tell_end(line, heard.told)
                    return
                if heard.kind != OPEN:
                    self.say(f"{line}: {next(iter(operations.lines(heard.told, argparse.Namespace())))}", "cyan")
        raise CircusError("unreachable", "circusd has left before it has ended", "the table shows what became of it")

    def _tell_end(self, line: str, told: dict[str, object]) -> None:
        error = told.get("error")
        if isinstance(error, dict):
            self.say(f"{line}: {error['message']}", "bold red")
        else:
            self.say(f"{line}: done", "green")
