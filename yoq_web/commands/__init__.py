"""The command line's own parts: groups that act as the local actor, their output, and the core's commands."""
