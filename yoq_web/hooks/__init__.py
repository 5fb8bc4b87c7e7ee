"""Plugins found and called so that none harms another."""
