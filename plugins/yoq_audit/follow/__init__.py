"""Following: the trail as it grows, over HTTP as server-sent events and on the command line."""
