"""Every peer by its name on the command line."""

from bench.peers import ancestor, cat, circus, papa, pm2, posix_spawn, runit, s6, supervisor
from bench.peers.base import Peer

PEERS: dict[str, type[Peer]] = {
    peer.name: peer
    for peer in (
        cat.Cat,
        posix_spawn.PosixSpawn,
        papa.Papa,
        circus.Circus,
        ancestor.Ancestor,
        ancestor.AncestorWithPapa,
        supervisor.Supervisor,
        pm2.Pm2,
        runit.Runit,
        s6.S6,
    )
}

#: Those that manage processes: they start them again, are asked for their status, are killed.
MANAGERS = ("circus", "circus-0.19", "circus-0.17-papa", "supervisor", "pm2", "runit", "s6")
