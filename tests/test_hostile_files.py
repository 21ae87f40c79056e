"""Files that a stranger could send: nothing of them is executed, and nothing ends the process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rs_mm.checkpoint import load_file
from rs_mm.errors import CheckpointError, DataError
from tests.hostile_pickles import array, call, hostile, new, write_checkpoint

ROOT = Path(__file__).parents[1]


def test_no_pickle_gets_through_any_door(tmp_path):
    command = [sys.executable, '-W', 'ignore', '-m', 'tests.hostile_pickles', str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, env={'PYTHONPATH': str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = [line.split(' | ') for line in done.stdout.splitlines() if line.count('|') == 3]
    assert len(outcomes) == len(hostile()) * 3 * 2
    assert [line for line in outcomes if line[-1] != 'refused'] == []
    assert not list(tmp_path.glob('executed*'))


def test_numbers_of_numpy_load_as_they_were(tmp_path):
    values = [
        np.arange(6, dtype='<i4').reshape(2, 3),
        np.arange(6.0).reshape(2, 3).T,  # saved in Fortran order
        np.array([True, False]),
        np.array(3, '>f4'),
        np.zeros((0, 4)),
        np.complex64(1 + 2j),
        np.float64(0.5),
    ]
    torch.save(values, tmp_path / 'a.pth')
    for value, loaded in zip(values, load_file(tmp_path / 'a.pth')):
        assert loaded.dtype == value.dtype.newbyteorder('=') and loaded.shape == value.shape
        np.testing.assert_array_equal(loaded, value)
    # what was loaded is saved under numpy's own names, and can be worked with
    again = load_file(tmp_path / 'a.pth')
    assert type(np.append(again[0], 1)) is np.ndarray and type(again[0] + 1) is np.ndarray
    torch.save(again, tmp_path / 'b.pth')
    assert b'rs_mm' not in (tmp_path / 'b.pth').read_bytes()
    np.testing.assert_array_equal(load_file(tmp_path / 'b.pth')[1], values[1])


def test_the_reason_is_said(tmp_path):
    write_checkpoint(tmp_path / 'a.pth', hostile()['array of objects'])
    with pytest.raises(CheckpointError, match="a.pth was not loaded.*the numpy type 'O8'"):
        load_file(tmp_path / 'a.pth')


def test_grn_reader_replaces_classes_but_not_numpy(tmp_path):
    from rs_mm.converters.grn import read_checkpoint

    objects = call('numpy.dtype', 'O8', False, True)
    for content in (
        array(objects, b'A' * 8),
        new('lib.Memory', state={'memory': array(objects, b'A' * 8)}),
        call('os.system', 'touch executed'),
    ):
        write_checkpoint(tmp_path / 'a.pth', content)
        with pytest.raises(CheckpointError):
            read_checkpoint(tmp_path / 'a.pth')


@pytest.mark.parametrize(
    'tag',
    [
        '!!python/object/apply:os.system [touch executed]',
        '!!python/name:os.system',
        '!!python/module:os',
        '!!python/object/new:os.system [touch executed]',
    ],
)
def test_yaml_configs_are_data(tmp_path, monkeypatch, tag):
    from rs_mm.errors import ConfigError
    from rs_mm.launch.config import load_config

    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.yaml').write_text(f'model: {{type: ToyModel}}\nwork_dir: {tag}\n')
    (tmp_path / 'b.yaml').write_text('_base_: a.yaml\nmodel: {type: ToyModel}\n')
    for name in ('a.yaml', 'b.yaml'):
        with pytest.raises(ConfigError, match=f'{name} cannot be read'):
            load_config(name)
    assert not (tmp_path / 'executed').exists()


@pytest.mark.parametrize('suffix', ['npy', 'npz'])
def test_object_arrays_are_not_unpickled(tmp_path, suffix):
    from rs_mm.retrieval import PCA

    path = tmp_path / f'a.{suffix}'
    content = np.array([print], object)
    np.save(path, content) if suffix == 'npy' else np.savez(path, mean=content, projection=content)
    with pytest.raises(DataError, match='not a PCA file'):
        PCA.load(path)


def test_yaml_that_stands_for_too_much(tmp_path):
    from rs_mm.errors import ConfigError
    from rs_mm.launch.config import load_config

    bomb = 'a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n' + ''.join(
        f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 10)}]\n' for i in range(1, 9)
    )
    for name, text in (('bomb', bomb), ('loop', 'model: &a {type: X, model: *a}\n')):
        (tmp_path / f'{name}.yaml').write_text(text)
        with pytest.raises(ConfigError, match='more than 100,000 settings'):
            load_config(tmp_path / f'{name}.yaml')


@pytest.mark.parametrize('kind', ['os.system', 'subprocess.getoutput', 'rs_mm.models.os.system'])
@pytest.mark.parametrize('suffix', ['yaml', 'json'])
def test_types_in_data_configs_are_of_registries(tmp_path, kind, suffix):
    import json

    from rs_mm.errors import ConfigError
    from rs_mm.launch.config import load_config

    path = tmp_path / f'a.{suffix}'
    hooks = [dict(type='EMAHook'), dict(type=kind, command='touch executed')]
    path.write_text(json.dumps(dict(model=dict(type='mmseg.FCNHead'), custom_hooks=hooks)))
    with pytest.raises(ConfigError, match=f"type='{kind}' is not a name in a registry"):
        load_config(path)
