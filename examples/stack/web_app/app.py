"""The application behind nginx: says which process answered, after ``?seconds`` of work."""

import os
import time


def application(environ, start_response):
    time.sleep(min(float(environ.get("QUERY_STRING") or 0), 10))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"answered by {os.getpid()}, a worker of {os.getppid()}\n".encode()]
