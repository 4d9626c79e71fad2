"""A schema file from raw logs: a sample of rows, guesses about each column, and what is suspect."""
