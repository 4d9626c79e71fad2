"""How a schema file is read: nodes with their lines, keys, parts, and what they add up to."""
