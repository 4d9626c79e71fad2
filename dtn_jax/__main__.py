"""`python -m dtn_jax COMMAND ...` is `dtn-jax COMMAND ...`."""

from dtn_jax.cli import main

if __name__ == "__main__":
    main()
