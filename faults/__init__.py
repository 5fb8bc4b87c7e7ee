"""The fault suite: the served program under load, hurt in every way that we know, and judged by one rule."""
