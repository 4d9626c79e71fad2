"""TFDS's builder, except that it writes records as they come, and reports a damaged set."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import tensorflow_datasets as tfds
from google.protobuf.json_format import ParseError
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from dtn_jax.datasets.preparation import checked_files, unfinished
from dtn_jax.errors import UserError
from dtn_jax.shared_files import disk_errors


class RecordWriter(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes each split as one file of array records, in the order of its generator."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = None  # manual files are optional: see BlockBuilder.raw

    def __init__(self, **kwargs):
        try:
            super().__init__(file_format="array_record", **kwargs)
        except (ParseError, AssertionError) as error:  # TFDS reads its own file at once
            raise UserError(
                f"{self.data_path / 'dataset_info.json'} is damaged ({error}); "
                f"{checked_files.remedy(pathlib.Path(self.data_path))}"
            ) from None

    def download_and_prepare(self, **kwargs):
        with unfinished.preparing(pathlib.Path(self.data_path).parent):
            super().download_and_prepare(**kwargs)

    def _download_and_prepare(self, dl_manager, download_config):
        super()._download_and_prepare(dl_manager, download_config)
        folder = pathlib.Path(self.data_path)  # still the temporary one: all appears at once
        self._write_facts(folder)
        self.info.download_size = dl_manager.downloaded_size
        self.info.write_to_directory(folder)  # TFDS will do so too, and write the same
        checked_files.seal(folder)

    def _write_facts(self, folder: pathlib.Path) -> None:
        """Writes the set's own files, beside the records and what TFDS writes."""

    def _generate_splits(self, dl_manager, download_config):
        """Writes the records as they come.

        TFDS would first collect a split to shuffle it: in memory up to a gigabyte, beyond that with
        TensorFlow.
        """
        splits = self._split_generators(dl_manager)
        return [self._write(split, records) for split, records in splits.items()]

    def _write(self, split: str, records: Iterator[tuple[int, dict]]) -> tfds.core.SplitInfo:
        features, template = self.info.features, self._get_filename_template(split_name=split)
        serializer = ExampleSerializer(features.get_serialized_info())
        sizes = []

        def serialized():
            for key, record in records:
                data = serializer.serialize_example(features.encode_example(record))
                sizes.append(len(data))
                yield key, data

        path = template.sharded_filepath(shard_index=0, num_shards=1)
        with disk_errors(pathlib.Path(path)):
            self._example_writer().write(path=path, examples=serialized())
        return tfds.core.SplitInfo(
            name=split, shard_lengths=[len(sizes)], num_bytes=sum(sizes), filename_template=template
        )

    def _create_builder_config(self, builder_config, version):
        return builder_config  # as made by the data set; TFDS would warn that it is not listed
