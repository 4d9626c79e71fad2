"""The protocols of the shipped data sets, a file each; papertables/protocol.py says what one is."""
