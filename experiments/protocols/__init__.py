"""The protocols of the shipped data sets, a file each; protocol_files.py says what one is."""
