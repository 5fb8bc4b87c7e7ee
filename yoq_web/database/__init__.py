"""The database: engines, the one unit of work, locks and migrations."""
