"""What `prepare` does stage by stage, in one DuckDB database beside the set."""
