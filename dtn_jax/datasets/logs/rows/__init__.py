"""The rows of a raw log: checked, counted where they are bad, and each in its split."""
