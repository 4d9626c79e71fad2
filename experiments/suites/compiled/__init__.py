"""The suite `compiled`: programs made by the compilers of accelerators that are not there.

A cell (cells.py) names a topology and a program of the project. Each is compiled in a process of
its own (program.py) for described devices (topologies.py); what the compiler made is read off its
text (hlo_text.py, arrays.py, collectives.py), held against goals (goals.py) and put into a table.
Nothing runs: no figure here is a measured time.
"""
