"""dtn_jax: experiments with multi-task ranking models in JAX."""

__version__ = "0.1.0"
