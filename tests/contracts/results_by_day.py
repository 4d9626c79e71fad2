"""Results by day as a run that scores each day first leaves them."""

TASKS = ("click", "order", "a_task_of_a_long_name", "another_of_a_long_name", "seconds")


def by_day(names=TASKS, days=4):
    """{day: {task@space: its metrics}}; on the first day GAUC is not defined."""
    found = {}
    for n in range(days):
        binary = {"auc": 0.5 + n / 10, "gauc": None if n == 0 else 0.6, "logloss": 0.3}
        binary |= {"base_rate": 0.01 * (n + 1), "positives": n, "examples": 100}
        own = {f"{name}@all": binary for name in names if name != "seconds"}
        own |= {"click@order": binary} if "order" in names else {}
        own |= {"seconds@all": {"r2": 0.1 * n, "rmse": 3.0}} if "seconds" in names else {}
        found[f"2022-04-{n + 8:02d}"] = own
    return found
