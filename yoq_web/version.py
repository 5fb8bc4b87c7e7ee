"""The version of the software, as installed."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("yoq-web")
