"""The tasks of a stage on Apache Beam, instead of processes of this machine.

    python -m experiments.prepare --schema=shop.yaml --input='logs/*.parquet' --data_dir=/shared \
        --beam='--runner=FlinkRunner --flink_master=HOST:8081'

The options are Beam's own; '--runner=DirectRunner' is this machine. Every worker needs this
package and sees `data_dir` under the same path, as a mounted file system; the raw files may be
anywhere that fsspec reads. DirectRunner is tested, and gives the bytes of one process. Dataflow,
Flink and Spark have not been tried.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence

from dtn_jax.errors import UserError


def run(do: Callable[..., int], tasks: Sequence[tuple], options: str) -> Iterator[int]:
    """Does all tasks in one pipeline, which tells nothing before it ends.

    Args:
      do: a function of a module; it leaves its result in files.
      tasks: arguments of each call.
      options: Beam's pipeline options, as on its command line.

    Raises:
      UserError: Beam is not installed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise UserError(f"--beam needs Apache Beam: pip install -e '.[beam]' ({error})") from None
    if tasks:
        with beam.Pipeline(options=PipelineOptions(shlex.split(options))) as pipeline:
            # Without a shuffle a runner would do all tasks in one process, one after another.
            _ = pipeline | beam.Create(list(tasks)) | beam.Reshuffle() | beam.MapTuple(do)
    yield from ()
