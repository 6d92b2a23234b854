"""Programs of other people, under circusd or asking it: nothing here knows how they are made.

A file for each program, a line for each in `tiers`; `make outsiders` runs them and says what ran, in which version, and
what was left out and why. The programs run as `examples/services` shows them.
"""
