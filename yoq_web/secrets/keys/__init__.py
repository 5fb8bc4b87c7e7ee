"""The keys that secrets are encrypted with: data keys, master keys, their rotation."""
