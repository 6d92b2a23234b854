"""Shaking the system with a seed, until an invariant breaks.

`scenario` chooses what happens next, and a world makes it happen: `house_world` to circusd with its kernel,
`kernel_world` to the kernel alone, under a heavier load, `files_world` to circusd while its files are rotated, whose
bytes `files_checker` compares. Each world says at the end what was promised and not kept.
A run is its seed: the same seed chooses the same steps.
"""
