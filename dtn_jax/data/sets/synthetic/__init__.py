"""Synthetic impressions with a known answer."""
