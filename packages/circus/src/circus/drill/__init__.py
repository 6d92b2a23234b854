"""A trial of the promise on a running circusd: it is killed under its services, and what they noticed is counted.

The idea: nothing that circusd says of itself is believed. Processes are compared by pid and start in /proc, connections
by what a client of them sees, and output by reading along in the kernel's own files and then in the log files.
"""
