"""Curves of runs from mmengine's scalar logs."""

import json

import pytest

from rs_mm.analysis.log_plots import plot_logs, read_log, smoothed
from rs_mm.errors import ConfigError, MissingFileError


def write_log(folder, start, records, broken=False):
    path = folder / start / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    lines = [json.dumps(record) for record in records]
    path.write_text('\n'.join([*lines, '{"loss": 0.'] if broken else lines))


def test_resumed_runs_are_joined(tmp_path):
    run = tmp_path / 'run'
    write_log(run, '1', [dict(loss=3.0, step=1), dict(loss=2.0, step=2)], broken=True)
    write_log(run, '2', [dict(loss=2.5, step=2, lr=0.1), {'step': 2, 'a/mAP': 0.5}])
    write_log(run / 'test', '3', [dict(loss=9.0, step=1)])
    log = read_log(run)
    assert log['loss'] == [(1, 3.0), (2, 2.5)]
    other = tmp_path / 'other'
    write_log(other, '1', [dict(loss=1.0, step=5, time=0.1)])
    assert plot_logs([run, other], tmp_path / 'x.png') == ['loss', 'lr', 'a/mAP']
    assert (tmp_path / 'x.png').stat().st_size > 1000
    table = (tmp_path / 'x.csv').read_text().splitlines()
    assert table[0] == 'run,scalar,step,value' and 'other,loss,5,1.0' in table
    assert plot_logs([run], tmp_path / 'x.png', ['a/*']) == ['a/mAP']


def test_wrong_runs_and_keys(tmp_path):
    with pytest.raises(MissingFileError, match='holds no vis_data/scalars.json'):
        read_log(tmp_path)
    write_log(tmp_path / 'run', '1', [dict(loss=3.0, step=1)])
    with pytest.raises(ConfigError, match="no run has the scalar 'mIoU'; there are loss"):
        plot_logs([tmp_path / 'run'], tmp_path / 'x.png', ['mIoU'])


def test_smoothing_starts_at_the_first_value():
    assert smoothed([2.0, 2.0, 2.0], 0.9) == pytest.approx([2.0, 2.0, 2.0])
    assert smoothed([0.0, 1.0], 0.5) == pytest.approx([0.0, 2 / 3])
