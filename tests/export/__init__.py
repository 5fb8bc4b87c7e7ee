"""Tests of export and follow."""
