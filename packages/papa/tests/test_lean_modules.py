from __future__ import annotations

import signal
import subprocess
import sys

from papa import places
from papa.kernel import system


def in_a_program_of_the_kernel(code: str) -> str:
    start = f"import sys; sys.path.insert(0, {places.source()!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + code], capture_output=True, text=True, timeout=20, check=True
    )
    assert not done.stderr
    return done.stdout


def test_a_program_of_the_kernel_does_without_enumerations():
    loaded = in_a_program_of_the_kernel(
        "import papa.kernel.daemon, papa.kernel.holder, papa.kernel.recorder, papa.kernel.reexec\n"
        "print(*sorted({'enum', 're', 'collections', 'functools', 'selectors'} & set(sys.modules)))\n"
    )
    assert loaded == "\n"


def test_what_was_imported_stays_as_it_is():
    assert "True True" in in_a_program_of_the_kernel(
        "import socket, signal; theirs = socket, signal\n"
        "import papa.kernel.vault, socket, signal\n"
        "print(socket is theirs[0], signal is theirs[1])\n"
    )


def test_a_lean_socket_listens_accepts_and_closes():
    assert in_a_program_of_the_kernel(
        "import papa.kernel, socket\n"
        "with socket.socket(socket.AF_INET) as listener:\n"
        "    listener.bind(('127.0.0.1', 0)); listener.listen(1); listener.settimeout(10)\n"
        "    with socket.socket(fileno=socket.socket(socket.AF_INET).detach()) as peer:\n"
        "        peer.connect(listener.getsockname())\n"
        "        accepted, address = listener.accept()\n"
        "        with accepted:\n"
        "            print(address == peer.getsockname(), type(accepted) is socket.socket, accepted.family == 2)\n"
        "            peer.sendall(b'hello'); print(accepted.recv(10).decode())\n"
        "        print(accepted.fileno(), peer.recv(10))\n"
    ).splitlines() == ["True True True", "hello", "-1 b''"]


def test_every_signal_has_the_name_that_people_know():
    assert {number: system.signal_name(number) for number in signal.Signals} == {
        number: number.name for number in signal.Signals
    }
    assert system.signal_name(63) == system.signal_name(0) == ""
