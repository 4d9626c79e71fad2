"""What dtn-jax sweep is made of."""
