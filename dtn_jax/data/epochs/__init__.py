"""Blocks on disk to batches in the epoch's order."""
