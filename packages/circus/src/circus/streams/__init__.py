"""Where the output of processes goes: from the kernel's stream files into log files, each byte exactly once.

The way of a byte: `tap` (one process's files) -> `plan` (what to write next, where to rotate) -> an intent committed in
the kernel (`store`, `commits`) -> `sinks` (written by a thread of `workers`) -> the commit that acknowledges it.
`channel` turns this wheel for one file, and `health` says how it fares; `pump` is the door for the engine. `compare`
settles after a crash what of an intent already stands in the file. `lines`, `render`, `rotate`, `intervals`: pure.
"""
