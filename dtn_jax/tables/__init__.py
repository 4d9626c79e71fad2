"""Embedding tables: look-up, pooling, row updates, exchange between devices."""
