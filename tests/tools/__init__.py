"""Tests of what lies in tools/, which is no part of the program."""
