"""What is measured and tabled: protocols, benchmarks, results.

`python -m experiments.train` is `dtn-jax train`, and so for every command.
"""
