"""All of the documentation is true: what it lists exists, its links lead somewhere, its examples work."""
