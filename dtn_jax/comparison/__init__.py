"""Comparisons of models: what dtn-jax compare and paper tables say of a difference.

Two runs or files of scores, metric by metric, on the same rows: `differences.differences`. Two rows
of a table, by the AUCs of their seeds as they are and under draws of the test examples:

    from dtn_jax.comparison.differences import Sampled, compare_rows

    # Of a row's seeds: AUCs [S], and metrics.significance.resampled_aucs [S, R], the same draws.
    ours = Sampled(aucs, draws)
    found = compare_rows({("dtn", "click@all"): (ours, theirs), ...})    # a family of claims
    found["dtn", "click@all"]    # {"difference", "low", "high", "p", "least", "p_holm"}

There is one p-value a claim: of the bootstrap over examples and seeds, corrected over the family.
"""
