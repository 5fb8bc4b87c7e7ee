"""Keys: master keys, data keys and the log's signing key, and how each is changed."""
