"""Every peer by its name on the command line."""

from bench.peers import cat, circus, supervisor
from bench.peers.base import Peer

PEERS: dict[str, type[Peer]] = {
    "cat": cat.Cat,
    "circus": circus.Circus,
    "supervisor": supervisor.Supervisor,
}
