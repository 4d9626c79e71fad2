"""How a schema file is read: its lines, its keys, and what they add up to."""
