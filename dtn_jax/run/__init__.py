"""A run: from a config and a prepared set to its folder of results. The story is in `train`."""
