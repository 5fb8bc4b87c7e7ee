"""Rollouts: the pure machine that decides each step, and what carries the steps out."""
