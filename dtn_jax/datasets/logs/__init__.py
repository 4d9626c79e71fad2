"""Your own logs: a schema file says what they hold, and any size is prepared in bounded memory.

    prepare.py   the story: a log to a prepared set
    builder.py   the prepared log as a data set
    times.py     time columns in every form
    formula.py   expressions over columns
    schema/      what a schema file says
    raw/         files, the units in which they are read, a reader for each format
    rows/        rows checked, counted where they are bad, each in its split
    fit/         pass 1: statistics of train, merged to vocabularies, buckets and shards
    write/       pass 2: records, and how the set becomes whole
    work/        who does it: processes, machines, Beam
    infer/       a schema file written from raw files
    keys.py, work_folder.py, mapped.py   what several of them share

A folder imports from those above it.
"""
