"""What the text language says about itself."""

from __future__ import annotations

GENERAL = """\
Papa hosts processes and sockets, and keeps their output, exit codes and a few values.

  list processes|sockets|values [NAME...]     show what there is
  make process NAME [OPTION=VALUE...] PROGRAM [ARGUMENT...]
                                              start a process
  make socket NAME [OPTION=VALUE...]          open a listening socket
  watch lines NAME...                         read output and exits; takes nothing away
  watch processes NAME...                     fetch output and exits, for programs: what was fetched is gone
  remove processes|sockets|values NAME...     forget processes and values, close sockets
  set NAME [VALUE]                            keep a value; without VALUE forget it
  get NAME                                    show a value
  exit-if-idle                                end papa if it hosts nothing
  quit                                        close this connection
  help [COMMAND [SECOND WORD]]                say more

Words may be shortened and written in any case: "l p" lists processes, "w l web" watches the lines of web. Of
several commands that begin so the first in the alphabet is meant. exit-if-idle must be written out.
A NAME is printable text without spaces and ":", at most 255 bytes. One that ends in * stands for all that begin
so; * alone for all. A space within a word is written "\\ ". A line has at most 65536 bytes.
Programs speak frames instead: see "help frames".
"""

TOPICS = {
    ("list",): """\
list processes|sockets|values [NAME...]
  Without a NAME everything is shown. Names that do not exist are left out.
  A process that has ended is listed with running=False until its exit and its output are acknowledged by whoever
  watches it, or it is removed.
""",
    ("make", "process"): """\
make process NAME [OPTION=VALUE...] PROGRAM [ARGUMENT...]
  uid=N gid=N              numbers, both; only if papa runs as root
  working_dir=PATH         absolute; / unless named
  env.NAME=VALUE           the whole environment: nothing is inherited
  rlimit.NAME=N            soft and hard limit, like rlimit.nofile=1024; N is a whole number, -1 for no limit
  stdout=0|1               1 keeps the output (unless said otherwise), 0 throws it away
  stderr=0|1|stdout        the same; stdout joins it with the other one
  bufsize=N[k|m|g]         bytes of output that are kept until somebody acknowledges them; 2m. Then the oldest go;
                           who owns the process may slow it down instead. 0 keeps none
  shell=1                  run /bin/sh -c PROGRAM; arguments become $0, $1...
  watch=1                  follow it at once, as "watch processes" does
  Options come first: PROGRAM is the first word without "=". It is looked up on env.PATH, else in /bin and /usr/bin.
  A space in a value or an argument is written "\\ ". A value in "..." loses the quotation marks, but they join no
  words: env.A="two\\ words".
  $(socket.NAME.fileno) and $(socket.NAME.port) in PROGRAM and arguments stand for a socket's number and port.
  If NAME is there already, the same words answer with what is there, and others are refused; also when it has ended,
  until somebody has acknowledged its end or removed it.
""",
    ("make", "socket"): """\
make socket NAME [OPTION=VALUE...]
  family=inet|inet6|unix   unix when a path is given, else inet
  type=stream|dgram|seqpacket
                           stream unless named; seqpacket only for unix
  backlog=N                connections that may wait; 5
  path=PATH                of a unix socket, absolute
  umask=MODE               for the file of a unix socket; octal when it begins with 0, else decimal
  replace=1                take the path of a unix socket that somebody else serves
  host=ADDRESS             a number; 127.0.0.1 or ::1 unless named, with an interface 0.0.0.0 or ::
  port=N                   0 or none: the system chooses one, and the answer shows it
  interface=NAME           accept from this network interface only; needs root
  reuseport=1              a listener of its own for each process
  Asking again for the same socket answers with the one that is there; other words for its NAME are refused.
""",
    ("remove",): """\
remove processes|sockets|values NAME...
  A process that runs goes on running; its output is thrown away from here on. Sockets are closed here; a process
  that has one keeps it. The file of a unix socket goes. Nothing is removed unless it is named; * names all, but
  not all values.
""",
    ("watch",): """\
watch lines NAME...
  For people: what is kept, then what comes, a line at a time with the local time of papa's machine. "out|" is
  standard output, "err|" standard error, "out+" goes on a line that was shown in part, "out-" says what is missing.
  Nothing is acknowledged or removed, nobody is slowed down. Any line that is typed (Enter), or Ctrl-C, ends it;
  it ends by itself when all have ended. Processes that start later are not shown.
watch processes NAME...
  For programs: output comes as "out:NAME:TIME:LENGTH" (or "err:...") and the bytes, an exit as
  "closed:NAME:TIME:CODE". After "] " papa waits: "q" acknowledges and stops, any other line acknowledges and goes
  on. What is acknowledged is gone, an ended process with it, unless somebody else owns it, like circusd.
""",
    ("set",): "set NAME [VALUE]\n  Keeps VALUE under NAME until papa ends; without VALUE the name is forgotten.\n",
    ("get",): "get NAME\n  Shows the value; an empty line when there is none.\n",
    ("exit-if-idle",): """\
exit-if-idle
  Unless papa hosts a process, a socket or a value: closes this connection, and ends papa when nobody else is
  connected. Whoever connects until then keeps it.
""",
    ("quit",): "quit\n  Closes this connection. What papa hosts is not touched.\n",
    ("frames",): """\
frames 1
  As the first line of a connection: from here on both sides speak frames, the language for programs.
""",
}


def find(words: list[str]) -> str:
    """The help for these words, each of which may be shortened; the general help when there is none."""
    typed = [word.lower() for word in words if word]
    found = [text for topic, text in TOPICS.items() if typed and _is_meant(topic, typed)]
    if not found and typed and not _is_meant(("help",), typed):
        return f"There is no help for it; this is all:\n{GENERAL}"
    return "".join(found) or GENERAL


def _is_meant(topic: tuple[str, ...], typed: list[str]) -> bool:
    return all(name.startswith(word) or word.startswith(name) for name, word in zip(topic, typed, strict=False))
