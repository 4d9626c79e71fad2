"""What dtn-jax compare is made of: rows of both sides, their differences, and their pages."""
