"""A short round of the fuzzer; the long one is ``python -m tests.fuzz.run``."""

import pytest

from tests.fuzz.run import fuzz, held

# one of each kind of reader; imports of all of them take as long as the round
SHORT = ('PNG', 'label TIFF', 'label table, packed', 'PCA', 'LMDB record', 'pickle in a checkpoint')


@pytest.mark.parametrize('name', SHORT)
def test_damaged_files_end_in_our_own_errors(tmp_path, name):
    found = fuzz(name, inputs=300, seconds=120, seed=1, folder=tmp_path, keep=None)
    assert held(found), found
    assert found['refused'] > 30
