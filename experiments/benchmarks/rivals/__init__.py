"""Other frameworks' training of the models that the suite `peers` compares, a script each.

They run in a virtual environment of their own, so they import nothing of this project but
`session`, and nothing else here imports them: experiments/benchmarks/peers.py starts them as
processes and hands them turns.
"""
