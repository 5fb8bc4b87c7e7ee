"""Which pages have written parts, and what writes them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flask import Flask

from docs.generator.actions import write_actions
from docs.generator.api import write_api
from docs.generator.blocks import BLOCK, Writer, write_blocks
from docs.generator.cli import write_commands
from docs.generator.hooks import write_hook, write_hook_list
from docs.generator.names import write_fields, write_modules, write_names
from docs.generator.tables import write_filters, write_floors, write_metrics, write_settings
from yoq_web import create_app

DOCS = Path(__file__).parents[1]


@contextmanager
def build_app() -> Iterator[Flask]:
    """Build an application to be looked at, with a data directory that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        yield create_app({"YOQ_DATA_DIR": folder, "YOQ_DATABASE_URL": "sqlite:///" + folder + "/yoq.db"})


def list_writers(app: Flask) -> Mapping[str, Writer]:
    """Return what writes the blocks, by their names."""
    return {
        "actions": lambda _words: write_actions(app),
        "api": lambda _words: write_api(app),
        "commands": lambda _words: write_commands(app),
        "fields": write_fields,
        "floors": lambda _words: write_floors(),
        "filters": lambda _words: write_filters(),
        "hook": write_hook,
        "hooks": lambda _words: write_hook_list(),
        "metrics": lambda _words: write_metrics(app),
        "modules": lambda _words: write_modules(),
        "names": write_names,
        "settings": lambda _words: write_settings(app),
    }


def list_pages() -> list[Path]:
    """Return the pages that have blocks."""
    return [path for path in sorted(DOCS.rglob("*.md")) if BLOCK.search(path.read_text())]


def write_page(path: Path, app: Flask) -> str:
    """Return a page as it should be."""
    return write_blocks(path.read_text(), list_writers(app))
