"""Sends one client back what it sends, and prints all of it at the end."""

import socket
import sys

connection, _ = socket.socket(fileno=int(sys.argv[1])).accept()
heard = b""
while data := connection.recv(4096):
    connection.sendall(data)
    heard += data
sys.stdout.buffer.write(heard)
