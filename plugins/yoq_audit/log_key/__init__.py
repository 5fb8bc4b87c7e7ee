"""The log's key on this machine and the head kept beside it, the chain of its keys, and its rotation."""
