"""What a run shows: terminal tables, pictures, the progress bar."""
