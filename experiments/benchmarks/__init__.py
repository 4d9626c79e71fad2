"""The suites of experiments.benchmark, a file or a folder each: `measure(options) -> Measured`.

A suite measures something beside a reference, a rival or a limit of the machine, in one process,
and says what it found as a table and as goals: what was hoped for, what came out.
"""
