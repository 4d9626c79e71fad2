"""From raw logs to batches: read, clean, split, fit, encode, feed."""
