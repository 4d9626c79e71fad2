"""Who does the work, where it is kept, and what a set was made from."""
