"""The common part of the public sets that a schema file describes."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import ClassVar

import tensorflow_datasets as tfds

from dtn_jax.datasets.logs.builder import SchemaSet
from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.datasets.logs.raw.files import ends
from dtn_jax.datasets.logs.schema import schema_file
from dtn_jax.datasets.logs.write import finish_set
from dtn_jax.datasets.preparation import progress
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.download import download, unpacked
from dtn_jax.datasets.public.archive import unpack
from dtn_jax.errors import UserError
from dtn_jax.shared_files import write_whole

SCHEMAS = pathlib.Path(__file__).parent

Files = Mapping[str, pathlib.Path]  # {name: where it is}


class PublicLogs(SchemaSet):
    """A public set: its class says which raw files it has, where they are, and its schema file.

    Raw files lie in `<manual_dir>/<name>`. If that folder has none of them and `url` gives an
    archive, they are downloaded. The prepared set is `<data_dir>/<name>/<options>/1.0.0`; it knows
    its raw files by their names below that folder, so that the folder may move.
    """

    url = ""
    layout: ClassVar[Layout | None] = None  # of the records; None: the usual one for so many rows
    notes: Mapping[str, object] = MappingProxyType({})  # further ones of the set, as of `prepare`

    def schema_name(self) -> str:
        """The schema file's name, without `.yaml`."""
        return self.name

    def schema_text(self) -> str:
        """What the schema file says, given the options; here all that it says."""
        return (SCHEMAS / f"{self.schema_name()}.yaml").read_text()

    def variant(self) -> str:
        """What the prepared set's folder says of the options."""
        return "_".join(f"{name}{value}" for name, value in vars(self.own).items())

    def raw_names(self) -> tuple[str, ...]:
        """The raw files, by their path below `<manual_dir>/<name>`, and in the archive."""
        raise NotImplementedError

    @contextlib.contextmanager
    def log(self, files: Files) -> Iterator[list[str]]:
        """The files of the log; here the raw ones."""
        yield [str(path) for path in files.values()]

    def __init__(self, *, data_dir: str, manual_dir: pathlib.Path | None = None, **own: str | int):
        self.root, self.manual_dir = pathlib.Path(data_dir), manual_dir
        values = {name: found.default for name, found in self.OPTIONS.items()} | own
        for name, value in values.items():
            self.OPTIONS[name].check(f"option {name} of data set {self.name}", value)
        self.own = SimpleNamespace(**values)
        self.home = self.root / self.name / self.variant()
        self.data_dir = str(self.home / finish_set.VERSION)
        self.text = self.schema_text()
        self.spec = schema_file.loads(self.text, str(self.home / f"{self.name}.yaml"))
        self.meaning = schema_file.fingerprint(self.spec)

    def download_and_prepare(self) -> None:
        """Prepares the set from the user's raw files, or from those that it downloads."""
        made_of: dict[str, dict] = {"raw_files": {}, "raw_hashes": {}}
        if self.url and not self._has_any():
            files = self._downloaded()
        else:
            files = self.raw_files()
            made_of = {"raw_files": self.raw_sizes(), "raw_hashes": self.raw_hashes()}
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            write_whole(pathlib.Path(self.spec.path), self.text)
            with self.log(files) as log:
                given = {"source": self.SOURCE, "home": self.home, "made_of": made_of}
                given |= {"layout": self.layout, "notes": self.notes}
                prepare(self.spec, log, self.root, **given)
            pathlib.Path(self.spec.path).unlink(missing_ok=True)
        except UserError as error:
            if made_of["raw_files"]:
                raise
            raise UserError(
                f"{error}. It came from {self.url} and lies in {self.root / 'downloads'}: if it "
                "is damaged, delete that folder, and the next run downloads it again"
            ) from None

    def outdated(self) -> str:
        """What to say of a set of another recipe."""
        return (
            f"{self.data_dir} was prepared by other rules than those of this version; delete it to "
            "prepare the data set again"
        )

    def raw_files(self) -> dict[str, pathlib.Path]:
        """The raw files in the user's folder, by name.

        Raises:
          UserError: one is not there; it says where to get them.
        """
        names = self.raw_names()
        told = f"Get the set from {self.spec.about['home']} and give data.manual_dir (or "
        told += f"$DTN_MANUAL_DIR), a folder whose folder {self.name} holds {' and '.join(names)}"
        if not self.manual_dir:
            raise UserError(f"{self.name} needs its raw files. {told}")
        files = {name: self.manual_dir / self.name / name for name in names}
        lacking = [name for name, path in files.items() if not path.is_file()]
        if lacking:
            raise UserError(f"{self.manual_dir / self.name} lacks {' and '.join(lacking)}. {told}")
        return files

    def raw_sizes(self) -> dict[str, int]:
        """Bytes of the raw files, by name."""
        return {name: path.stat().st_size for name, path in self.raw_files().items()}

    def raw_hashes(self) -> dict[str, str]:
        """A hash of the ends of the raw files, by name."""
        return {name: ends(str(path)) for name, path in self.raw_files().items()}

    def _has_any(self) -> bool:
        """Whether the user's folder has some of the raw files; says so where it has none."""
        if not self.manual_dir:
            return False
        folder = self.manual_dir / self.name
        found = any((folder / name).is_file() for name in self.raw_names())
        if not found:
            progress.say(f"{folder} holds no raw files.")
        return found

    def _downloaded(self) -> dict[str, pathlib.Path]:
        manager = tfds.download.DownloadManager(
            download_dir=self.root / "downloads", dataset_name=self.name
        )
        names = self.raw_names()
        instead = (
            "Without a connection, give data.manual_dir (or $DTN_MANUAL_DIR), a folder whose "
            f"folder {self.name} holds {' and '.join(names)}"
        )
        with progress.without_tfds_bars():
            archive = download(manager, self.url, instead)
        return unpack(archive, names, unpacked(archive), self.url)
