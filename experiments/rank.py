"""`dtn-jax rank`, in a clone."""

from dtn_jax.cli import main

if __name__ == "__main__":
    main("rank")
