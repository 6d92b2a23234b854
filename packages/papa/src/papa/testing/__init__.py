"""For the tests of programs that run on papa: a kernel in memory with the face of the asyncio client.

One idea: a fake is worth something only if it answers like the real thing, so it is built of the kernel's own
rules and held to the kernel by a conformance suite.
"""

from __future__ import annotations

from papa.testing.clock import FakeClock
from papa.testing.face import FakePapa
from papa.testing.kernel import FakeKernel
from papa.testing.server import FakeServer

__all__ = ["FakeClock", "FakeKernel", "FakePapa", "FakeServer"]
