"""A web server on a listening socket that somebody else opened; its argument is the descriptor's number."""

import http.server
import os
import signal
import socket
import sys
import threading


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"hello from {os.getpid()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


listener = socket.socket(fileno=int(sys.argv[1]))
listener.setblocking(True)
server = http.server.ThreadingHTTPServer(listener.getsockname(), Hello, bind_and_activate=False)
server.socket.close()
server.socket = listener
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print(f"serving on {listener.getsockname()}", flush=True)
server.serve_forever()
