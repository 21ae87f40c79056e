"""Files that are written whole, as JSON that every parser reads, where that is possible."""

import json

import numpy as np
import pytest
import torch

from rs_mm import compat
from rs_mm.errors import ConfigError, MissingFileError
from rs_mm.files import check_file_writable, check_writable, write_json, write_metrics


def strict(text):
    def refuse(word):
        raise AssertionError(f'{word} is no JSON')

    return json.loads(text, parse_constant=refuse)


def test_what_is_no_number_is_null_and_said_why(tmp_path):
    nested = dict(a=float('nan'), b=[np.float32(np.inf), 1], c=torch.tensor([1.5, float('nan')]))
    write_json(tmp_path / 'deep/x.json', nested)
    found = strict((tmp_path / 'deep/x.json').read_text())
    assert found == dict(a=None, b=[None, 1], c=[1.5, None])
    write_metrics(tmp_path / 'm.json', dict(F1=np.float64(np.nan), aAcc=np.float32(99.5)))
    found = strict((tmp_path / 'm.json').read_text())
    assert found['F1'] is None and found['aAcc'] == 99.5 and 'F1' in found['without_value']
    write_metrics(tmp_path / 'm.json', dict(aAcc=1.0))
    assert strict((tmp_path / 'm.json').read_text()) == dict(aAcc=1.0)


def test_mmengine_writes_such_json_too(tmp_path):
    from mmengine.fileio import dump

    compat.apply_for_runs()
    dump(dict(mIoU=float('nan'), iter=np.int64(3)), str(tmp_path / 'x.json'))
    assert strict((tmp_path / 'x.json').read_text()) == dict(mIoU=None, iter=3)
    assert strict(dump(dict(loss=float('inf')), file_format='json')) == dict(loss=None)


def test_where_to_write_is_checked_before_the_work(tmp_path):
    (tmp_path / 'file').write_text('')
    for check, path, words in (
        (check_writable, 'file/below', 'is a file; name a folder'),
        (check_file_writable, 'file/m.json', 'is a file; name a folder'),
        (check_file_writable, '', 'is a folder; name a file in it'),
    ):
        with pytest.raises(ConfigError, match=f'--out .*{words}'):
            check(tmp_path / path, '--out')
    check_file_writable(tmp_path / 'new/m.json')
    check_writable(tmp_path / 'new/folder')
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('address', ['http://127.0.0.1:9/c.pth', 'http://no.host.invalid/c.pth'])
def test_weights_that_cannot_be_fetched_are_one_sentence(address):
    from mmengine.runner import CheckpointLoader

    compat.apply_for_runs()
    with pytest.raises(MissingFileError, match=f'{address} could.*checkpoints/c.pth.*load_from'):
        CheckpointLoader.load_checkpoint(address)
