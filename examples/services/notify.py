"""A service for systemd's Type=notify and socket activation, with nothing but the standard library.

It answers whoever connects with its pid, at the socket of which sd_listen_fds(3) speaks, else at one of its own.
"""

import argparse
import contextlib
import os
import select
import signal
import socket
import time


def notify(*lines, flags=0):
    """To whoever started it, if that is there: between `circusctl quit` and the next circusd nobody listens.

    After a crash of circusd a few messages wait for the next one, and then who says more waits, too.
    """
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            # A name in Linux's abstract namespace is written with an @.
            door.sendto("\n".join(lines).encode(), flags, path.replace("@", "\0", 1))


def open_listener(port):
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        return socket.socket(fileno=3)
    return socket.create_server(("127.0.0.1", port))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8080)
    args = parser.parse_args()
    asked = []
    for signum in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(signum, lambda signum, _: asked.append(signum))
    wake, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())

    # Loading takes long: 90 s more, from now on.
    notify("STATUS=loading", "EXTEND_TIMEOUT_USEC=90000000")
    listener = open_listener(args.port)
    port = listener.getsockname()[1]
    notify("READY=1", f"STATUS=serving at {port}")
    print(f"serving, pid {os.getpid()}", flush=True)

    # Half of the time after which it counts as hung.
    beat_s = int(os.environ.get("WATCHDOG_USEC", 0)) / 2e6
    beat_at = time.monotonic()
    while signal.SIGTERM not in asked:
        if beat_s and time.monotonic() >= beat_at:
            beat_at = time.monotonic() + beat_s
            notify("WATCHDOG=1", flags=socket.MSG_DONTWAIT)  # one that is lost is no reason to wait
        ready, _, _ = select.select([listener, wake], [], [], max(0.0, beat_at - time.monotonic()) if beat_s else None)
        if wake in ready:
            wake.recv(100)
        if listener in ready:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"served by %d\n" % os.getpid())
        if signal.SIGHUP in asked:
            asked.remove(signal.SIGHUP)
            notify("RELOADING=1")
            print("read its settings again", flush=True)
            notify("READY=1", f"STATUS=serving at {port}")
    notify("STOPPING=1", "STATUS=leaving")
    print("left in good order", flush=True)


if __name__ == "__main__":
    main()
