"""The prepared set: its shards, their records, and how it becomes whole."""
