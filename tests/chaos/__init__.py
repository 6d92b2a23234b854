"""Shaking the system with a seed, until an invariant breaks.

`scenario` chooses what happens next, `world` makes it happen to real daemons and real writers, `checker` says
at the end what was promised and not kept. A run is its seed: the same seed chooses the same steps.
"""
