"""DSQNet's benchmark, on a small pair."""

import runpy
from pathlib import Path

TOOL = Path(__file__).parents[2] / 'tools/benchmarks/dsqnet.py'


def test_measures_both_ways(monkeypatch):
    monkeypatch.syspath_prepend(TOOL.parent)  # as when it runs as a script
    tool = runpy.run_path(str(TOOL))
    tool['CASES']['small'] = ('swin', 64, 1, True)
    result = tool['measure']('small', repeats=1)
    assert 0 < result['floor_s'] < result['ours_s']
    assert result['ratio'] == result['plain_s'] / result['ours_s']
    # of 153 at 256 x 256 and batch 2, a thirty-second, plus what the windows pad
    assert 153 / 32 < result['gflop'] < 6
