"""Ali-CCP: click → conversion."""
