"""The book of tokens of one circusd: in its state directory, and in force.

A change counts when it is on the disk: a token that is told to somebody is there after a crash, a revoked one is not.
When tokens were used is written at most once an hour for each, and in the background. A book that cannot be read is
left alone: no token counts then, nothing is written over it, and that is said.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from pathlib import Path

from circus import clock
from circus.control import tokens
from circus.control.caller import Caller
from circus.control.tokens import Book, Token
from circus.engine import files
from circus.errors import CircusError

log = logging.getLogger("circus.control")

NAME = "tokens.json"

#: Far above MAX_TOKENS of the longest ones that people write; what is larger is not ours.
MAX_BYTES = 16 << 20

#: A disk that does not take the book in this time refuses the change.
WRITE_S = 10.0

#: Who is asked a thousand times a second does not try to write as often.
NOTE_RETRY_S = 60.0


class Keyring:
    """``on_end`` is told the id of each token that counts no more."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self.trouble = ""
        self.on_end: Callable[[str], None] = lambda _id: None
        self._book = Book()
        self._is_readable = True
        self._writing = asyncio.Lock()
        self._noting: asyncio.Task[None] | None = None
        self._used: dict[str, float] = {}  # since this circusd started: id -> when
        self._note_after = 0.0  # monotonic
        self._is_written = False  # now, perhaps by a thread that hangs

    def load(self) -> None:
        """Blocks, though not for ever."""
        try:
            self._book = Book.from_bytes(files.bounded(self._read))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            self._is_readable = False
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            self.trouble = f"tokens: {self.path} cannot be read, and no token counts: {why}"
            log.error("%s", self.trouble)

    def _read(self) -> bytes:
        with open(self.path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        return data

    def listed(self) -> list[tuple[Token, float | None]]:
        """Each with the moment of its last use, as exactly as this circusd knows it."""
        return [(token, self._used.get(token.id, token.last_used)) for token in self._book.listed()]

    async def create(self, wish: tokens.Wish, caller: Caller) -> tuple[Token, str]:
        """The token and its text. Raises: CircusError."""
        async with self._writing:
            id, secret = secrets.token_bytes(tokens.ID_BYTES), secrets.token_bytes(tokens.SECRET_BYTES)
            book, token, text = self._book.make(wish, caller, now=clock.wall(), id=id, secret=secret)
            await self._write(book)
        log.info("a token was created name=%s id=%s role=%s by=%s", token.name, token.id, token.role, caller.name)
        return token, text

    async def revoke(self, which: str, caller: Caller) -> Token:
        """Raises: CircusError."""
        async with self._writing:
            book, token = self._book.without(which)
            await self._write(book)
        log.info("a token was revoked name=%s id=%s by=%s", token.name, token.id, caller.name)
        self.on_end(token.id)
        return token

    def proven(self, text: str) -> Token | None:
        """The token whose text this is, if it counts; its use is noted."""
        now = clock.wall()
        token = self._book.proven(text, now)
        if token is not None:
            self._used[token.id] = now
            is_news = self._book.used(token.id, now) is not None
            if is_news and self._noting is None and clock.monotonic() >= self._note_after:
                self._noting = asyncio.get_running_loop().create_task(self._note())
        return token

    def counts(self, id: str) -> bool:
        token = self._book.get(id)
        return token is not None and not token.has_expired(clock.wall())

    async def close(self) -> None:
        if self._noting is not None:
            await asyncio.wait([self._noting], timeout=WRITE_S)

    async def _note(self) -> None:
        """The coarse time of use is nobody's life: what fails here is tried again at the next use."""
        try:
            async with self._writing:
                book = self._book
                for id, at in self._used.items():
                    book = book.used(id, at) or book
                await self._write(book)
        except CircusError as error:
            log.warning("when tokens were used is not noted: %s", error.message)
            self._note_after = clock.monotonic() + NOTE_RETRY_S
        finally:
            self._noting = None

    async def _write(self, book: Book) -> None:
        if not self._is_readable:
            raise CircusError("unavailable", self.trouble, "mend or remove the file, and restart circusd")
        if self._is_written:
            # A thread that hangs may yet put its book in place of ours.
            raise CircusError("unavailable", f"{self.path} is not written: its disk hangs", "nothing was changed")
        data = book.to_bytes()
        self._is_written = True

        def write() -> None:
            try:
                files.replace_whole(self.path, data)
            finally:
                self._is_written = False

        try:
            await asyncio.to_thread(files.bounded, write, WRITE_S)
        except OSError as error:
            raise CircusError(
                "unavailable", f"{self.path} cannot be written: {error.strerror or error}", "nothing was changed"
            ) from None
        self._book = book
        self._used = {id: at for id, at in self._used.items() if book.get(id) is not None}
