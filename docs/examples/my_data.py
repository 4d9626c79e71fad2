import polars as pl

from dtn_jax.data.sets.data_set import DataSet


class Visits(DataSet):
    """Visits to a shop, joined to its items: does one click, and does one buy after that?"""

    name = "visits"
    schema = """
        fields:
          visitor: {min_count: 2}
          item:
          price: {kind: numeric}
        tasks:
          click:
          buy: {upstream: [click], also_report: [click]}
        group: visitor  # whose rows are ranked against each other: GAUC
        time: date
        split: {by: time, validation: 2026-03-08, test: 2026-03-09}
    """

    def raw_names(self):
        return ("visits.csv", "items.csv")

    def raw(self, files):
        visits, items = (pl.read_csv(file, try_parse_dates=True) for file in files.values())
        return visits.join(items, on="item", how="left", maintain_order="left")


DATASETS = {"visits": Visits}
