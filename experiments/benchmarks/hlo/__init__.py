"""Reads what a compiler made of a program: its optimised HLO, as text, of CPU, GPU or TPU."""
