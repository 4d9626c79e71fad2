"""What dtn-jax paper_tables is made of."""
