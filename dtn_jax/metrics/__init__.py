"""Metrics on the host: ranking, within groups, calibration, label spaces, significance."""
