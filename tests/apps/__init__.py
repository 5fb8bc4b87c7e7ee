"""Tests of apps: manifests, placement, rollouts and what an operator and an agent see of them."""
