"""Every measurement by the name of its sub-command."""

from bench.measurements import (
    away,
    delay,
    hosted,
    idle,
    latency,
    lines,
    logs,
    ready,
    recovery,
    respawn,
    roll,
    small,
    spawn,
    takeover,
    throughput,
    tree,
)

MEASUREMENTS = {
    "throughput": throughput,
    "delay": delay,
    "away": away,
    "idle": idle,
    "latency": latency,
    "spawn": spawn,
    "recovery": recovery,
    "hosted": hosted,
    "small": small,
    "lines": lines,
    "logs": logs,
    "ready": ready,
    "respawn": respawn,
    "roll": roll,
    "takeover": takeover,
    "tree": tree,
}
