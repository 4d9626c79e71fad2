"""The commands of docs/logs.md, as they stand, then those that score what they made."""

import json

import numpy as np
import polars as pl
import pytest
from own_log import log
from page_commands import lines
from page_shell import Shell

LOG = lines("docs/logs.md", "# Your own logs")
DAY = lines("docs/logs.md", "## Tomorrow's rows")
DESCRIBE = "dtn-jax prepare --schema=shop_2.yaml --data_dir=data --describe"
OUT = (
    "dtn-jax export --workdir=runs/shop --out=models/shop",
    "dtn-jax score --model=models/shop --input='day/*.parquet' --output=scores.parquet",
    "dtn-jax serve --model=models/shop",
    "curl -s 127.0.0.1:8000/schema | python -c "
    "'import json, sys; print(json.dumps(json.load(sys.stdin)[\"example\"]))' > request.json",
    "curl -s 127.0.0.1:8000/score -H 'Content-Type: application/json' -d @request.json",
)


@pytest.mark.slow
def test_from_a_log_to_scores_over_http(tmp_path):
    """Of a log with a cart beside click and order, as the page's own has."""
    frame = log(6000).with_columns(cart=pl.max_horizontal("order", pl.col("click") // 2))
    later = frame.with_columns(pl.col("user") + 50)
    for name, part in {"logs": frame, "day2": later, "day": frame[-700:]}.items():
        (tmp_path / name).mkdir()
        for at in (0, 1):
            part[at::2].sort("t").write_parquet(tmp_path / name / f"{at}.parquet")
    assert (len(LOG), len(DAY)) == (3, 3)
    with Shell(tmp_path) as shell:
        for line in LOG:
            shell.run(line)
        told = [shell.run(line) for line in (*DAY[:2], DESCRIBE, DAY[2])]
        said = [shell.run(line) for line in OUT]
        assert shell.stop() == [0]
    assert "extends shop, fingerprint" in told[1]
    assert "New ids" in told[2]
    assert "Starting from runs/shop, at its step" in told[3]
    scores = pl.read_parquet(tmp_path / "scores.parquet")
    assert len(scores) == 700
    outputs = ["click@all", "cart@all", "cart@click", "order@all"]
    assert set(outputs) <= set(scores.columns)
    assert all(scores[name].is_between(0, 1).all() for name in outputs)
    answer = json.loads(said[-1])
    assert answer["rows"] == 1
    assert set(outputs) <= set(answer["scores"])
    assert np.isfinite([v for values in answer["scores"].values() for v in values]).all()
