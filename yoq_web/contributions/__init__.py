"""What the core's domains and plugins add to the application, as data, and its admission."""
