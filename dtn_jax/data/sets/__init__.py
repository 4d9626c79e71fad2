"""Data sets, one a file, each with a schema file; `catalog` has them by name."""
