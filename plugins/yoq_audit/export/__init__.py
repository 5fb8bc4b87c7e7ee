"""Export: the trail as a file, in several formats, with proofs that are checked offline if wanted."""
