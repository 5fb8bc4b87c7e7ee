"""Tests of operations whose effect is outside the database, and of what goes on beside requests."""
