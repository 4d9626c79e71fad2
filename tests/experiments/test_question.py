"""Which slice a training needs: the answer, and questions that cannot be."""

import pytest

from dtn_jax.errors import UserError
from experiments import benchmark
from experiments.suites import question

ASKED = {"rows": "2e9", "table_rows": "1e9", "embedding_dim": "64", "hours": "8"}


@pytest.mark.slow
def test_the_smallest_slice_that_fits_is_answered(capsys):
    given = [f"--{key}={value}" for key, value in ASKED.items()]
    benchmark.main(["--suite=plan", *given, "--device=v5p"])
    said = capsys.readouterr().out
    assert "v5p: 16 devices are enough" in said
    assert "does not fit" in said
    assert "A checkpoint has 772 GB" in said
    assert max(map(len, said.splitlines())) <= 80


def of_device(hours, **changes):
    asked = question.read(ASKED | {"device": "v5e", "hours": hours} | changes)
    rates = question.RATES["v5e"]
    slices = [question.slice_of(asked, rates, n) for n in (64, 256)]
    return "\n".join(question.of_device(asked, "v5e", rates, slices))


def test_the_smallest_that_is_fast_enough():
    assert "v5e: 64 devices are enough" in of_device("8")
    slower, fast = of_device("0.05").splitlines()[2:4]
    assert slower.endswith("too slow")
    assert fast.endswith("<- the smallest")


def test_that_none_is_enough_is_said():
    assert "no slice is fast enough: 256 devices take" in of_device("0.001")
    large = of_device("8", table_rows="2.1e9", embedding_dim="4096")
    assert "no slice fits: 256 devices would each hold" in large
    assert "A device holds" not in large


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rows": "many"}, "--rows=many: expected a whole number"),
        ({"rows": "0"}, "--rows=0: expected a whole number"),
        ({"table_rows": "22"}, "--table_rows=22: expected 23 to"),
        ({"table_rows": "3e9"}, "--table_rows=3e9: expected 23 to 2,147,.* int32"),
        ({"embedding_dim": "5000"}, "--embedding_dim=5000: expected 1 to 4,096"),
        ({"device": "v5p,h200"}, "unknown device 'h200'.*h100"),
        ({"hours": "-1"}, "--hours=-1: expected a number above 0"),
        ({"hours": "nan"}, "--hours=nan: expected a number above 0"),
        ({"hours": "soon"}, "--hours=soon: expected a number above 0"),
    ],
)
def test_questions_that_cannot_be(given, message):
    with pytest.raises(UserError, match=f"(?i){message}"):
        question.read(given)


@pytest.mark.parametrize("more", [["--suite=step"], ["--suite=plan", "--quick"]])
def test_the_question_is_the_suite_plans(more, tmp_path):
    with pytest.raises(UserError, match="--rows asks the suite plan"):
        benchmark.main([*more, "--rows=1e9", *(["--out", str(tmp_path)] if len(more) > 1 else [])])
    assert not list(tmp_path.iterdir())
