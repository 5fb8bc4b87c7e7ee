"""Tests of the core's backup."""
