"""Raw logs: which files there are, the units they are read in, and a reader for each format."""
