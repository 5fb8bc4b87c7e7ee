"""The tables of the trail and of the tree over it, and how they are read and written."""
