"""Why a model works: importance by task, use of gates, gradient conflict, pair interactions.

Everything here reads a run and changes nothing in it. Letters, besides those of the models: B rows
of the sample, K keys `task@space`, R repeats.
"""
