"""Fuzzing: what strangers can send and disks can hold, in a million forms; `make fuzz`.

The one idea: a target is one module with `seeds()`, `check(data)` that fails when a promise is broken, `ROOMS` (the
modules whose coverage counts), `WORDS` that the mutation may put in, and `BOUNDS`: real bounds made small, so that
short inputs reach them. Atheris guides where it is installed; the smoke in every test run mutates without guidance,
from a fixed seed.

Inputs that a fault was found with become tests beside the code that was mended, not files here.
"""
