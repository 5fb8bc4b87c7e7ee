"""Tests of the fault suite: that its judge finds what he is there for."""
