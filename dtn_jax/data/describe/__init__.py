"""What a prepared set holds, in numbers: rates, fields, suspects of leaks, drift."""
