"""The suite `compiled`: programs made by the compilers of accelerators that are not there.

A cell (cells.py, the list in listed.py) names a topology and a program of the project. Each is
compiled in a process of its own (program.py) for described devices (topologies.py). What the
compiler made is read off its text (figures.py, memory.py, with experiments.benchmarks.hlo) and held
against goals (goals.py); suite.py runs it all, written.py makes the table of the documents.
Nothing runs on a device: no figure here is a measured time.
"""
