"""What experiments.paper_tables is made of."""
