"""Comparing runs: the numbers, the ragged cases and the tables."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from rs_mm.analysis.comparison import (
    bootstrap_interval,
    compare,
    largest_differences,
    read_group,
)
from rs_mm.analysis.comparison_tables import as_csv, as_latex, as_markdown, write
from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.evaluation import sample_scores


def runs(folder, name, **metrics):
    for number, values in enumerate(zip(*metrics.values())):
        path = folder / name / f'seed{number}' / 'metrics.json'
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(dict(zip(metrics, values))))
    return folder / name


def samples(path, scores):
    rows = [dict(sample=f's{i}', row=i, IoU=value) for i, value in enumerate(scores)]
    sample_scores.write_csv(path, rows)
    return path


def test_mean_spread_and_paired_test(tmp_path):
    first, second = [0.1, 0.2, 0.4], [0.2, 0.25, 0.6]
    groups = [
        read_group(runs(tmp_path, name, mAP=values)) for name, values in zip('ab', (first, second))
    ]
    base, other = compare(groups).rows
    assert base.mean == pytest.approx(np.mean(first))
    assert base.spread == pytest.approx(np.std(first, ddof=1))
    assert math.isnan(base.p_value)
    assert other.difference == pytest.approx(np.mean(second) - np.mean(first))
    assert other.p_value == pytest.approx(stats.ttest_rel(second, first).pvalue)


def test_runs_are_paired_by_seed_and_the_rest_is_said(tmp_path):
    first = runs(tmp_path, 'a', mAP=[1.0, 2.0, 9.0], only=[1.0, 1.0, 1.0])
    second = runs(tmp_path, 'b', mAP=[2.0, 4.0])
    result = compare([read_group(first), read_group(second)])
    row = next(row for row in result.rows if row.group == 'b')
    assert row.difference == 1.5  # without seed2
    assert 'mAP, a and b: seed2 of one only.' in result.notes
    assert 'only: b has no such value.' in result.notes
    assert '- only: b has no such value.' in as_markdown(result)


def test_interval_over_samples(tmp_path):
    generator = np.random.default_rng(1)
    first = generator.random(200)
    tables = [
        samples(tmp_path / f'{name}.csv', first + shift)
        for name, shift in (('a', 0), ('b', 0.1 + 0.05 * generator.standard_normal(200)))
    ]
    row = compare([read_group(table) for table in tables]).rows[1]
    low, high = row.interval
    assert 0.08 < low < row.difference < high < 0.12
    # that of independent samples, the spread of the scores, would be ten times as wide
    assert bootstrap_interval(np.full(5, 2.0)) == (2.0, 2.0)


def test_undefined_scores_are_left_out(tmp_path):
    first = samples(tmp_path / 'a.csv', [1.0, math.nan, 3.0])
    second = samples(tmp_path / 'b.csv', [2.0, 5.0, 4.0])
    result = compare([read_group(first), read_group(second)])
    assert result.rows[1].difference == 1.0
    assert '1 samples have no defined score' in ' '.join(result.notes)


def test_tables(tmp_path):
    groups = [read_group(runs(tmp_path, name, F1_a=[0.1, 0.3])) for name in ('x_1', 'y')]
    result = compare(groups)
    assert '| F1_a | x_1 | 2 | 0.2 | ± 0.14 |' in as_markdown(result)
    assert as_csv(result).splitlines()[1].startswith('F1_a,x_1,2,0.2,0.1414')
    assert r'F1\_a & x\_1 & 2 & 0.2 & $\pm$ 0.14' in as_latex(result)
    write(result, tmp_path / 'out.tex')
    assert (tmp_path / 'out.tex').read_text() == as_latex(result)
    with pytest.raises(ConfigError, match='must end in .md, .csv, .tex'):
        write(result, tmp_path / 'out.xlsx')


def test_worst_and_largest_differences():
    first = [dict(sample=s, row=i, IoU=v) for i, (s, v) in enumerate(zip('abc', (1, 5, math.nan)))]
    second = [dict(sample=s, row=i, IoU=v) for i, (s, v) in enumerate(zip('abc', (2, 1, 3)))]
    assert [row['sample'] for row in sample_scores.worst(first, 9)] == ['a', 'b']
    assert [a['sample'] for a, _ in largest_differences(first, second, 9)] == ['b', 'a']
    with pytest.raises(DataError, match='no sample in common'):
        largest_differences(first, [dict(sample='z', row=0, IoU=1)], 1)
    with pytest.raises(ConfigError, match='no score .nothing.'):
        sample_scores.worst(first, 1, 'nothing')


def test_names_that_occur_twice():
    assert sample_scores.unique_names(['a', 'b', 'a', 'a']) == ['a', 'b', 'a#2', 'a#3']


def test_what_cannot_be_compared_is_said(tmp_path):
    with pytest.raises(MissingFileError, match='holds no metrics.json'):
        read_group(tmp_path)
    group = read_group(runs(tmp_path, 'a', mAP=[1.0]))
    with pytest.raises(ConfigError, match=r"no run has the metric 'mIoU'; there are mAP"):
        compare([group], ['mIoU'])
    with pytest.raises(ConfigError, match='two of the groups have one name'):
        compare([group, group])
    (tmp_path / 'bad.csv').write_text('x,y\n1,2\n')
    with pytest.raises(DataError, match='no column `sample`'):
        read_group(tmp_path / 'bad.csv')
