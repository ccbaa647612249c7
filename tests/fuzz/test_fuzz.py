"""Mutated files of every format are read or refused with one line; `python -m tests.fuzz` reads any number of them."""

import pytest

from tests.fuzz.cases import MAX_BYTES, MAX_SECONDS, attempt, case
from tests.fuzz.readers import read
from tests.fuzz.seeds import FORMATS, seeds_of

COUNT = 30  # mutated files per format
FLIPS = 20  # damaged copies of a sealed file


@pytest.mark.parametrize("kind", FORMATS)
def test_the_files_that_are_mutated_are_valid(kind, tmp_path):
    refusals = [read(kind, seed.name, seed.finish(seed.data), tmp_path) for seed in seeds_of(kind)]
    if kind == "pdparams":
        assert "fc1.weight is missing" in refusals.pop()  # the last holds only small weights
    if kind == "pdopt":
        assert "not the state of a run" in refusals.pop()  # the last holds no weights
    assert not any(refusals)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_mutated_file_is_read_or_refused_with_one_line(kind, tmp_path):
    results = [attempt(kind, number, 0, tmp_path) for number in range(COUNT)]
    assert [result for result in results if result.failure] == []
    assert any(result.refusal for result in results)
    assert max(result.seconds for result in results) <= MAX_SECONDS
    assert max(result.memory for result in results) <= MAX_BYTES


def test_a_seed_and_a_number_always_give_the_same_file():
    files = {(kind, seed, number): case(kind, number, seed) for kind in FORMATS for seed in (0, 1) for number in (0, 1)}
    assert len(set(files.values())) == len(files)
    for (kind, seed, number), file in files.items():
        assert case(kind, number, seed) == file
