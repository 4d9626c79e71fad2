"""A search of settings by Optuna: trials are runs, judged on validation, never on test.

What dtn-jax sweep and paper tables call:

    from dtn_jax.search.studies import Budget, search

    found = search(
        config,              # what trials start from
        suggest,             # f(trial) -> {option: value}, of load_space; None: those given alone
        folder,              # of the trials' folders; holds sweep.db unless a storage is given
        Budget(trials=20),   # and sampler, pruner, seed, validations: of all trials together
        data=fingerprint,    # of the data set: another one is refused, as another config
        enqueue=[{...}],     # settings tried besides, each once however often the call is repeated
        finalists=3,         # the best settings, trained again with seeds that no trial had ...
        finalist_seeds=3,    # ... so many; the best mean wins
        name="dtn",          # of what is searched, in messages and in the storage
        alone=True,          # no other worker lives: trials that seem to run are run again at once
    )
    found.settings, found.value, found.at_edge    # of the winner
    found.finalists          # [Finalist(trial, settings, values, at_edge)], the best first
    found.stretches          # {trial: how many, from one validation to the next, it trained on}
    found.as_dict()          # all of it, for a JSON file

The same call resumes an interrupted search. A second call with further `enqueue` goes on with the
same study: so the settings of other models are tried after their searches.
"""
