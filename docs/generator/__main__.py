"""`./run docs --write`: write the pages' blocks anew."""

from __future__ import annotations

import sys

from docs.generator.pages import DOCS, build_app, list_pages, write_page


def main() -> None:
    """Write each page that changes, and name it."""
    with build_app() as app:
        for path in list_pages():
            text = write_page(path, app)
            if text != path.read_text():
                path.write_text(text)
                sys.stdout.write(f"written: {path.relative_to(DOCS.parent)}\n")


main()
