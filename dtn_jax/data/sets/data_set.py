"""A data set in one file: raw files or frames, and a schema file that says what becomes of them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import re
import shutil
import tarfile
import textwrap
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import polars as pl

from dtn_jax.data import progress
from dtn_jax.data.blocks import Layout
from dtn_jax.data.prepare import prepare
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.quantiles import BINS
from dtn_jax.data.raw.files import content
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.data.stages import frames, provenance
from dtn_jax.data.stages.frames import Frames
from dtn_jax.data.stages.work import VERSION
from dtn_jax.errors import UserError
from dtn_jax.files import write_whole
from dtn_jax.options import Option

NUMBERS = Option(
    "buckets",
    "how numeric fields are kept: in quantile buckets, or standardised for model.numbers; log "
    "standardises sign(x) log(1 + |x|)",
    choices=("buckets", "standardise", "log"),
)

RETRIES = 4  # three seconds in all; TFDS's ten take minutes to say that there is no connection
TAR = {"format": "gztar", "filter": "data"}
DAMAGED = (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError)

Files = Mapping[str, pathlib.Path]  # {name: where it is}


class DataSet:
    """A data set: its class says which raw files it has, what they are made into, and its schema.

    The prepared set is `<data_dir>/<name>/<variant>/1.0.0`. Raw files lie in `<manual_dir>/<name>`;
    if that folder has none of them and `url` gives an archive, they are downloaded. The prepared
    set knows its raw files by their names below that folder, so that the folder may move.

    Attributes:
      schema: the text of its schema file, or that file.
      url: of an archive (zip, tar.gz, or a tar.gz in a zip) with the raw files; '' without.
      layout: how rows lie in records; None: as usual for so many.
      notes: further facts for notes.json, read after `raw`; the lines of `account` are also told.
      options: the values of its OPTIONS, by name.
      data_dir: the folder of the prepared set.
      manual_dir: the folder of all raw files; None where the user gives none.
    """

    name: ClassVar[str]
    OPTIONS: ClassVar[dict[str, Option]] = {}  # `data.options`
    SOURCE: ClassVar[str] = ""  # SHA-256 of the plug-in that it came with
    weight: ClassVar[str | None] = None  # '' where no row ever has a weight; None: the file says
    schema: ClassVar[str | pathlib.Path] = ""
    url: str = ""
    layout: Layout | None = None
    notes: Mapping[str, Any] = MappingProxyType({})

    def raw_names(self) -> tuple[str, ...]:
        """The raw files, by their path below `<manual_dir>/<name>`, and in the archive."""
        return ()

    def names_there(self, *choices: Sequence[str]) -> tuple[str, ...]:
        """The first of several choices of raw files of which the user has one, or else the first;
        each as it is there, plain or `.gz`."""

        def there(name: str) -> str:
            return next((n for n in (name, f"{name}.gz") if (self.folder / n).is_file()), "")

        names = next((names for names in choices if any(map(there, names))), choices[0])
        return tuple(there(name) or name for name in names)

    @property
    def folder(self) -> pathlib.Path:
        """The user's folder of the raw files."""
        return (self.manual_dir or pathlib.Path("nowhere")) / self.name

    def raw(self, files: Files) -> Frames | Mapping[str, Frames] | None:
        """The rows, as one Polars frame or several, one after another.

        As {split: frames} they get a column `_split` that says so, for `split` of the schema file.
        None, the default, where the raw files themselves are the log.

        Args:
          files: the raw files, by name.
        """
        return None

    def schema_text(self) -> str:
        """The schema file's text. An option changes the key of its name where that has the option's
        default, such as `min_count: 2`; `numbers` changes numeric fields as NUMBERS says."""
        given = self.schema
        text = given.read_text() if isinstance(given, pathlib.Path) else textwrap.dedent(given)
        for name, value in vars(self.options).items():
            usual = re.escape(f"{name}: {self.OPTIONS[name].default}")
            text = re.sub(rf"\b{usual}(?=[,}}\s])", f"{name}: {value}", text)
        return (
            numbered(text, self.options.numbers) if self.OPTIONS.get("numbers") is NUMBERS else text
        )

    def variant(self) -> str:
        """What the prepared set's folder says of the options: those that are not at their default;
        '' is that of the set itself."""
        options = vars(self.options).items()
        return "_".join(f"{n}{v}" for n, v in options if v != self.OPTIONS[n].default)

    def __init__(
        self, *, data_dir: str, manual_dir: pathlib.Path | None = None, **options: str | int
    ):
        self.root, self.manual_dir = pathlib.Path(data_dir), manual_dir
        usual = {name: option.default for name, option in self.OPTIONS.items()}
        self.options = SimpleNamespace(**usual | options)
        self.home = self.root / self.name / self.variant()
        self.data_dir = str(self.home / VERSION)

    @functools.cached_property
    def spec(self) -> Spec:
        """What the schema file says."""
        spec = schema_file.loads(self.schema_text(), f"{self.name}.yaml")
        return dataclasses.replace(spec, name=self.name)

    @functools.cached_property
    def meaning(self) -> str:
        """The fingerprint of what the schema file says."""
        return schema_file.fingerprint(self.spec)

    def recipe(self) -> str:
        """SHA-256 of what prepared rows depend on beside the raw files."""
        return provenance.recipe(self.meaning, self.SOURCE)

    def download_and_prepare(self) -> None:
        """Prepares the set from the user's raw files, or from those that it downloads."""
        with frames.alone(self.home, self.name):
            if pathlib.Path(self.data_dir).exists():  # another process was faster
                return
            names = self.raw_names()
            if not (self.url and names) or any((self.folder / n).is_file() for n in names):
                self._prepare(self.raw_files(), self.raw_facts())
                return
            instead = f"Without a connection, {self._instead()}"
            archive = download(self.url, self.root / "downloads", self.name, instead)
            files = unpack(archive, names, self.url)
            self._prepare(files, {"raw_files": {}, "raw_hashes": {}})

    def _prepare(self, files: Files, made_of: Mapping[str, Any]) -> None:
        place = self.home / f"{self.name}.yaml"
        write_whole(place, self.schema_text())
        rows = self.raw(files)
        raw = contextlib.nullcontext([str(path) for path in files.values()])
        with raw if rows is None else frames.written(rows, self.home) as log:
            if rows is not None:  # what is half prepared of other rows is not resumed
                made_of = {**made_of, "frames": [content(path) for path in log]}
            prepared = prepare(
                dataclasses.replace(self.spec, path=str(place)),
                log,
                self.root,
                source=self.SOURCE,
                home=self.home,
                made_of=made_of,
                layout=self.layout,
                notes=self.notes,
            )
        place.unlink()
        counts = ", ".join(f"{rows:,} {split}" for split, rows in prepared.rows.items())
        progress.say(f"{self.name}: {counts} rows")

    def outdated(self) -> str:
        """What to say of a set of another recipe."""
        rules = "other rules than those of this version"
        rules = "another version of its plug-in" if self.SOURCE else rules
        return f"{self.data_dir} was prepared by {rules}; delete it to prepare the data set again"

    def raw_files(self) -> dict[str, pathlib.Path]:
        """The raw files in the user's folder, by name.

        Raises:
          UserError: one is not there; it says where to get them.
        """
        names = self.raw_names()
        if not names:
            return {}
        hint = self._instead()
        if home := self.spec.about.get("home"):
            hint = f"Get the set from {home} and {hint}"
        if not self.manual_dir:
            raise UserError(f"{self.name} needs its raw files. {hint}")
        lacking = [name for name in names if not (self.folder / name).is_file()]
        if lacking:
            raise UserError(f"{self.folder} lacks {' and '.join(lacking)}. {hint}")
        return {name: self.folder / name for name in names}

    def _instead(self) -> str:
        return (
            "give data.manual_dir (or $DTN_MANUAL_DIR), a folder whose folder "
            f"{self.name} holds {' and '.join(self.raw_names())}"
        )

    def raw_facts(self, older: Prepared | None = None) -> dict[str, dict]:
        """Of the raw files by name, as of `provenance.raw_facts`."""
        files = {name: str(path) for name, path in self.raw_files().items()}
        return provenance.raw_facts(files, older)

    def check_raw(self, prepared: Prepared) -> None:
        """Raises UserError if the raw files are not those that the set was prepared from; they may
        be gone."""
        if not (self.manual_dir and prepared.raw_files):
            return
        try:
            now = self.raw_facts(prepared)
        except UserError:
            return
        if change := provenance.other_file(prepared, now):
            raise UserError(
                f"{prepared.folder} was prepared from other raw files than those in "
                f"{self.manual_dir}: {change}. Delete it to prepare the data set again, or give "
                "another data.data_dir"
            )


def hold_out(frame: pl.DataFrame, share: float, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Splits off a fixed, seeded share of the rows: (the rest, the held-out rows)."""
    held = np.zeros(len(frame), bool)
    rng = np.random.default_rng(seed)
    held[rng.permutation(len(frame))[: round(share * len(frame))]] = True
    return frame.filter(~held), frame.filter(held)


def numbered(text: str, numbers: str) -> str:
    """A schema file's text with a choice of NUMBERS for its numeric fields."""
    if numbers == "buckets":
        return text
    options = f"encoder: standardise, bins: {BINS}" + ", log: true" * (numbers == "log")
    return re.sub(r"(kind: numeric)(, buckets: \d+)?", rf"\1, {options}", text)


# Downloads, through TFDS, which keeps them beside the prepared sets.


def download(url: str, folder: pathlib.Path, name: str, instead: str) -> pathlib.Path:
    """Fetches a file, once.

    Args:
      url: where the file lies.
      folder: where it goes.
      name: of the data set.
      instead: what the user can do without the download, for the message.

    Raises:
      UserError: the download fails.
    """
    import tensorflow_datasets as tfds  # here, because it takes long
    from tensorflow_datasets.core.download import downloader

    progress.say(f"Downloading {url}")
    tfds.disable_progress_bar()
    manager = tfds.download.DownloadManager(download_dir=folder, dataset_name=name)
    before, downloader.MAX_RETRIES = downloader.MAX_RETRIES, RETRIES
    try:
        return pathlib.Path(manager.download(url))
    except (tfds.download.DownloadError, OSError) as error:
        raise UserError(f"{url} cannot be downloaded ({error}). {instead}") from None
    finally:
        downloader.MAX_RETRIES = before


def unpack(archive: pathlib.Path, names: Sequence[str], url: str) -> dict[str, pathlib.Path]:
    """The files of a zip or tar.gz, or of a tar.gz in a zip, by name.

    Args:
      archive: as it was downloaded.
      names: the wanted files, by their path in the archive.
      url: where the archive is from, for messages.

    Raises:
      UserError: the archive is damaged, or lacks a file; it is discarded.
    """
    folder, partial = archive.with_suffix(".unpacked"), archive.with_suffix(".partial")
    files = {name: folder / name for name in names}
    if folder.exists():
        return files
    try:
        kind = {"format": "zip"} if zipfile.is_zipfile(archive) else TAR
        shutil.unpack_archive(archive, partial, **kind)
        for inner in partial.glob("*.tar.gz"):
            shutil.unpack_archive(inner, partial, **TAR)
        lacking = [name for name in names if not (partial / name).is_file()]
        if not lacking:
            partial.rename(folder)
            return files
        problem = f"lacks {' and '.join(lacking)}"
    except DAMAGED as error:
        problem = f"cannot be unpacked ({error})"
    shutil.rmtree(partial, ignore_errors=True)
    for path in (archive, archive.with_name(f"{archive.name}.INFO")):  # TFDS's note of what it is
        path.unlink(missing_ok=True)
    raise UserError(
        f"the archive from {url} {problem}; it was discarded, and the next run downloads it again"
    )
