"""Tests of retention: pruning, archives and erasing."""
