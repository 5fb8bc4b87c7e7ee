"""Manifests: what an app is to be, read from TOML or JSON and compared."""
