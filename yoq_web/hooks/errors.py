"""What an implementation of a hook may raise, and what that means."""

from __future__ import annotations

HOOK_ERRORS = (Exception, SystemExit)
"""What a hook implementation may raise without taking anything else down; to exit is to fail."""


class Rejected(Exception):
    """Raised by an implementation of yoq_authenticate: these credentials are bad, nobody else need look at them."""


class Veto(Exception):
    """Raised by an implementation of yoq_before_operation: the operation must not happen. The text is told and kept."""
