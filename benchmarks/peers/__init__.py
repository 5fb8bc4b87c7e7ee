"""Other audit logs doing our audited write. Run by `./run bench peers`, in an environment of their own."""
