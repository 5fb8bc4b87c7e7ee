"""Tests of the domain of agents."""
