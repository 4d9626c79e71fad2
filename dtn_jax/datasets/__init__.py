"""Data sets, one builder a file; `catalog` has them by name."""
