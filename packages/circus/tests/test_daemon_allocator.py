"""What the process keeps of large blocks that threads have taken and given back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: More would be a block that some pool keeps.
MOST_KB = 8 << 10

#: Each thread takes 4 MB, and when all have given them back, 3 MB: as one log after another is read.
PROGRAM = """
import re, sys, threading
from pathlib import Path
from circus.daemon import allocator

def own_kb():
    return int(re.search(r"Anonymous: +([0-9]+)", Path("/proc/self/smaps_rollup").read_text())[1])

def work():
    for size in (4 << 20, 3 << 20):
        held = b"x" * size
        both.wait()
        del held
        both.wait()

if "tame" in sys.argv:
    allocator.tame()
both = threading.Barrier(8)
before = own_kb()
threads = [threading.Thread(target=work) for _ in range(8)]
for each in threads:
    each.start()
for each in threads:
    each.join()
print(own_kb() - before)
"""


def kept_kb(*words: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="what is tamed is glibc")
def test_large_blocks_go_back_to_the_system_whatever_thread_has_taken_them() -> None:
    assert kept_kb("tame") < MOST_KB
