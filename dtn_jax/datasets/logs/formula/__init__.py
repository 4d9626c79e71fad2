"""Small expressions over columns: their grammar, the types of their parts, their functions."""
