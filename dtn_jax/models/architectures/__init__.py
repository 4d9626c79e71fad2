"""Architectures: routings of experts to tasks, one file each."""
