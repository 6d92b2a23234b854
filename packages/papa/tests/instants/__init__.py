"""A SIGKILL of the kernel at every one of its system calls: see `run`."""
