"""Files that the generator of Ali-CCP's form writes, or refuses to write."""

import pytest

from dtn_jax.datasets.ali_ccp import files as ali_ccp_files
from dtn_jax.errors import UserError
from experiments import generate_ali_ccp


def test_no_file_that_is_there_is_written_over(tmp_path):
    (tmp_path / "sample_skeleton_train.csv.gz").write_bytes(b"real")
    with pytest.raises(UserError, match="exists and will not be overwritten"):
        generate_ali_ccp.main([f"--out={tmp_path}", "--rows=100"])
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"real"]


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--seed=-1", "seed is -1"),
        ("--behaviours=inf", "expected behaviours above 0, at most 100"),
        ("--behaviours=1e9", "expected behaviours above 0, at most 100"),
        (f"--rows={10**20}", "rows is .*, expected at most 10,000,000,000"),
        (f"--test_rows={10**20}", "rows is .*, expected at most 10,000,000,000"),
        (f"--lines={10**20}", "lines is .*, expected at most 100,000,000"),
        (f"--ids={10**20}", "ids is .*, expected at least 1 and at most 100,000,000"),
        ("--out=gs://bucket/raw", "--out gs://bucket/raw is a URL, expected a folder of this"),
    ],
)
def test_files_that_cannot_be_generated_are_refused(option, told, tmp_path):
    with pytest.raises(UserError, match=told):
        generate_ali_ccp.main([f"--out={tmp_path}", "--rows=100", option])
    assert not list(tmp_path.iterdir())


def test_what_an_interruption_leaves_is_no_data_set(tmp_path, monkeypatch):
    def interrupted(spec, part, common):
        yield from ()
        raise KeyboardInterrupt

    command = [f"--out={tmp_path}", "--rows=100"]
    with monkeypatch.context() as context:
        context.setattr(ali_ccp_files, "skeleton_blocks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate_ali_ccp.main(command)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "unfinished").mkdir()  # of a process that was killed
    (tmp_path / "unfinished" / "sample_skeleton_train.csv").touch()
    generate_ali_ccp.main(command)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{name}_{part}.csv" for name in ("common_features", "sample_skeleton")
        for part in ("test", "train")
    ]  # fmt: skip
