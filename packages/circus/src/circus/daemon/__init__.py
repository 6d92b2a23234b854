"""circusd: from the command line to a running manager, and its orderly end.

Order matters: everything that can be wrong is found before the process detaches, so that the person who started it
reads it; a second circusd of the same name is refused before anything is touched.
"""
