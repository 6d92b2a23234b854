"""Every measurement by the name of its sub-command."""

from bench.measurements import idle, latency, spawn, throughput

MEASUREMENTS = {
    "throughput": throughput,
    "idle": idle,
    "latency": latency,
    "spawn": spawn,
}
