"""A Ray cluster of several nodes on this machine: each a process tree of its own, bound to loopback."""
