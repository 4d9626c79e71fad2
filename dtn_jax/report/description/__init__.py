"""A data set's description, for the terminal and as one page in HTML."""
