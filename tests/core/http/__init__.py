"""Tests of the core's http."""
