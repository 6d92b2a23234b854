"""What the text language says about itself."""

from __future__ import annotations

GENERAL = """\
Papa hosts processes and sockets, and keeps their output, exit codes and a few values.

  list processes|sockets|values [NAME...]     show what there is
  make socket NAME [OPTION=VALUE...]          open a listening socket
  make process NAME [OPTION=VALUE...] PROGRAM [ARGUMENT...]
                                              start a process
  watch processes NAME...                     follow output and exits
  remove processes|sockets|values NAME...     forget processes and values, close sockets
  set NAME [VALUE]                            keep a value; without VALUE forget it
  get NAME                                    show a value
  exit-if-idle                                end papa if it hosts nothing
  quit                                        close this connection
  help [COMMAND [processes|sockets|values]]   say more

Commands and second words may be shortened: "l p" lists processes. A NAME that ends in * stands for all names
that begin so. A space in a word is written "\\ ". Programs speak frames instead: see "help frames".
"""

TOPICS = {
    ("list",): """\
list processes|sockets|values [NAME...]
  Without a NAME everything is shown. Names that do not exist are left out.
""",
    ("make", "socket"): """\
make socket NAME [OPTION=VALUE...]
  family=inet|inet6|unix   unix when a path is given, else inet
  type=stream|dgram|seqpacket
  backlog=N                connections that may wait; 5
  path=PATH                of a unix socket, absolute
  umask=MODE               for the file of a unix socket; octal when it begins with 0
  host=ADDRESS             127.0.0.1 or ::1 unless named
  port=N                   0 or none: the system chooses one, and the answer shows it
  interface=NAME           accept from this network interface only
  reuseport=1              one listener for each process
  Asking again for the same socket answers with the one that is there.
""",
    ("make", "process"): """\
make process NAME [OPTION=VALUE...] PROGRAM [ARGUMENT...]
  uid=N gid=N              numbers
  working_dir=PATH         absolute; / unless named
  env.NAME=VALUE           the whole environment: nothing is inherited
  rlimit.NAME=N            like rlimit.nofile=1024
  stdout=0|1               1 keeps the output, 0 throws it away
  stderr=0|1|stdout        stdout joins it with the other one
  bufsize=N[k|m|g]         how much output is kept; 2m. 0 keeps none
  shell=1                  run the words with /bin/sh -c
  watch=1                  follow it at once, as "watch processes" does
  $(socket.NAME.fileno) and $(socket.NAME.port) in arguments stand for a socket's descriptor and port.
""",
    ("remove",): """\
remove processes|sockets|values NAME...
  A process that runs goes on running; its output is thrown away from here on. Sockets are closed.
""",
    ("watch",): """\
watch processes NAME...
  Output comes as "out:NAME:TIME:LENGTH" and the bytes, an exit as "closed:NAME:TIME:CODE". After "] " papa
  waits: "q" acknowledges and stops, any other line acknowledges and goes on.
""",
    ("set",): "set NAME [VALUE]\n  Keeps VALUE under NAME until papa ends; without VALUE the name is forgotten.\n",
    ("get",): "get NAME\n  Shows the value; an empty line when there is none.\n",
    ("exit-if-idle",): "exit-if-idle\n  Ends papa unless it hosts a process, a socket or a value.\n",
    ("quit",): "quit\n  Closes this connection. What papa hosts is not touched.\n",
    ("frames",): """\
frames 1
  As the first line of a connection: from here on both sides speak frames, the language for programs.
""",
}


def find(words: list[str]) -> str:
    """The help for these words, each of which may be shortened; the general help when there is none."""
    typed = [word.lower() for word in words]
    for topic, text in TOPICS.items():
        if typed and all(
            name.startswith(word) or word.startswith(name) for name, word in zip(topic, typed, strict=False)
        ):
            return text
    return GENERAL
