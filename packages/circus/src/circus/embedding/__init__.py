"""circusd inside another program: `circus.get_arbiter`, and the classes that programs of the ancestors build it of.

What the program gives becomes a configuration (`texts`), a name is claimed for it (`naming`), and what circusd is
(`serving`) runs on the program's loop or on one of its own (`arbiter`). The program stays what it is: its logging, its
umask, its limits, its title and, on its own loop or in a thread, its signals are left alone.
"""
