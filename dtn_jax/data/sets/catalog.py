"""The data sets by name, and `load`: opens a prepared set, and prepares it first if necessary."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping

from ml_collections import ConfigDict

from dtn_jax.data.prepared import Prepared, read
from dtn_jax.data.sets.adult import Adult
from dtn_jax.data.sets.ali_ccp import AliCCP
from dtn_jax.data.sets.aliexpress import AliExpress
from dtn_jax.data.sets.census_income import CensusIncome
from dtn_jax.data.sets.data_set import DataSet
from dtn_jax.data.sets.kuairand import KuaiRand, KuaiRandHistories, KuaiRandPure
from dtn_jax.data.sets.logs import Logs
from dtn_jax.data.sets.movielens import MovieLens
from dtn_jax.data.sets.synthetic.builder import Synthetic
from dtn_jax.errors import UserError, choose, told
from dtn_jax.options import Option, option, pairs
from dtn_jax.places import cache_folder, full_path

DATASETS = {
    "adult": Adult,
    "ali_ccp": AliCCP,
    "aliexpress": AliExpress,
    "census_income": CensusIncome,
    "kuairand": KuaiRand,
    "kuairand_histories": KuaiRandHistories,
    "kuairand_pure": KuaiRandPure,
    "logs": Logs,
    "movielens": MovieLens,
    "synthetic": Synthetic,
}


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """Section `data`: which data set, and where it is."""

    dataset: str = option("adult", "the data set", choices=DATASETS)
    options: str = option(
        "",
        "the data set's own options, such as 'rows=100000,seed=1'; dtn-jax prepare "
        "--help=options lists them",
    )
    train_share: float = option(
        1.0,
        "share of the train rows to use, the same rows whatever the seed: for quick trials",
        above=0,
        most=1,
    )
    data_dir: str = option(
        "",
        "folder of prepared sets; '' means $DTN_DATA_DIR, else ~/.cache/dtn_jax",
        runtime=True,
    )
    manual_dir: str = option(
        "",
        "folder of raw files, with one folder per data set; '' means $DTN_MANUAL_DIR",
        runtime=True,
    )


def read_data(config: ConfigDict) -> Prepared:
    """The data set that a config names; see `load`."""
    source = config.data
    return load(source.dataset, source.options, source.data_dir, source.manual_dir)


def load(name: str, options: str = "", data_dir: str = "", manual_dir: str = "") -> Prepared:
    """Returns the prepared data set; prepares it first if that has not been done.

    Args:
      name: a key of DATASETS.
      options: the builder's own options, 'rows=100000,seed=1'.
      data_dir: where prepared sets are; default $DTN_DATA_DIR, else the user's cache folder.
      manual_dir: where raw files are, one folder per data set; default $DTN_MANUAL_DIR.

    Roles of fields are those that the schema file names today: rows do not depend on them.

    Raises:
      UserError: a name or option is unknown, or files are missing, damaged or malformed.
    """
    builder = make_builder(name, options, data_dir, manual_dir)
    folder = pathlib.Path(builder.data_dir)
    if not folder.exists():
        try:
            builder.download_and_prepare()
        except OSError as error:
            raise UserError(f"{name} cannot be prepared in {folder}: {told(error)}") from error
    prepared = read(folder)
    if prepared.recipe != builder.recipe():
        raise UserError(builder.outdated())
    builder.check_raw(prepared)
    roles = {field.name: (field.role, field.tokens) for field in builder.spec.fields}
    return dataclasses.replace(prepared, schema=prepared.schema.with_roles(roles))


def make_builder(name: str, options: str, data_dir: str, manual_dir: str) -> DataSet:
    """The builder of a data set; its `data_dir` is the folder of the prepared set."""
    builder_class = DATASETS[choose("data set", name, DATASETS)]
    manual = manual_dir or os.environ.get("DTN_MANUAL_DIR")
    return builder_class(
        data_dir=str(data_root(data_dir)),
        manual_dir=pathlib.Path(manual).expanduser().absolute() if manual else None,
        **parse_options(options, builder_class.OPTIONS, name),
    )


def data_root(data_dir: str = "") -> pathlib.Path:
    """The folder of all prepared sets."""
    return full_path(data_dir or os.environ.get("DTN_DATA_DIR") or cache_folder())


def parse_options(
    text: str, allowed: Mapping[str, Option], name: str
) -> dict[str, int | float | str]:
    """Reads 'rows=100000,pooling=mean'; `allowed` is the builder's OPTIONS.

    Raises:
      UserError: an unknown option, or a value that it may not have.
    """
    options = {}
    for key, value in pairs(text, "data.options").items():
        known = allowed[choose(f"option of data set {name!r}", key, allowed)]
        options[key] = known.cast(f"data.options {key}", value)
        known.check(f"data.options {key}", options[key])
    return options
