"""Tests of yoq's own routes: the contract with its command line and its agents."""
