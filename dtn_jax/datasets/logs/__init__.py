"""Your own logs: a schema file says what they hold, and any size is prepared in bounded memory.

    builder.py   the prepared log as a data set
    times.py     time columns in every form
    formula.py   expressions over columns
    schema/      what a schema file says
    raw/         files, the units in which they are read, a reader for each format
    infer/       a schema file written from raw files

A folder imports from those above it; `dtn_jax.data` prepares what they describe.
"""
