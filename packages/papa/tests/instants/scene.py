"""What a scene is: it prepares, does ONE thing, looks, and takes all away again."""

from __future__ import annotations

import abc
from typing import ClassVar

from packages.papa.tests.instants.world import World


class Scene(abc.ABC):
    """``prepare`` and ``check`` see a kernel that nobody disturbs; during ``act`` it is killed, or not."""

    #: Whose system calls count: the kernel's, or with "recovery" those of its successor.
    of: ClassVar[str] = "kernel"

    def __init__(self, world: World) -> None:
        self.world = world

    def prepare(self) -> None:
        return

    @abc.abstractmethod
    def act(self) -> None:
        """Must come to its end also when the kernel dies."""

    def is_done(self) -> bool:
        """Whether what began with ``act`` has all happened, unless the kernel died."""
        return True

    @abc.abstractmethod
    def check(self) -> None:
        """What this scene is about, and away with it."""
