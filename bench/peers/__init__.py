"""Every peer by its name on the command line."""

from bench.peers import ancestor, cat, circus, papa, supervisor
from bench.peers.base import Peer

PEERS: dict[str, type[Peer]] = {
    peer.name: peer for peer in (ancestor.Ancestor, cat.Cat, circus.Circus, papa.Papa, supervisor.Supervisor)
}
