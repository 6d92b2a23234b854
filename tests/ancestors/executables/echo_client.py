"""Says one line to the server of that port, and prints what comes back."""

import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.sendall(b"howdy\n")
    sys.stdout.buffer.write(connection.makefile("rb").readline())
