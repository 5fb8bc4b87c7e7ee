"""The tests: promises first, then parts."""
