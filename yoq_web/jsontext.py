"""JSON as yoq's clients need it: compact, keys in the order given, UTF-8 unescaped."""

from __future__ import annotations

import json
from typing import Any

from flask.json.provider import JSONProvider

# Kept: json.dumps() with arguments builds an encoder at each call.
_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def dumps(value: object) -> str:
    """Write `value` as compact JSON. yoq's clients search for the literal `"key":"`, so no space may follow a colon."""
    return _encoder.encode(value)


class CompactProvider(JSONProvider):
    """Makes Flask's own JSON (jsonify, flask.json) the same as ours."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:  # noqa: ARG002 - callers may not change the format
        """Write `obj` as compact JSON."""
        return dumps(obj)

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Read the value that the JSON text `s` stands for."""
        return json.loads(s, **kwargs)
