"""The comparison of runs over seeds and samples: means, spreads, paired test, bootstrap
interval."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import stats

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.evaluation import sample_scores

RESAMPLES = 10_000


@dataclass
class Group:
    """The runs of one setting.

    Attributes:
        name: name in the table.
        runs: run (e.g. ``seed0``) -> metric -> value.
        samples: sample -> score -> its values, one per run that has the score.
    """

    name: str
    runs: dict[str, dict[str, float]] = field(default_factory=dict)
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def values(self, metric: str) -> dict[str, float]:
        """Returns run -> value of a metric, for the runs that have it."""
        found = {run: scores.get(metric) for run, scores in self.runs.items()}
        return {run: v for run, v in found.items() if v is not None and not math.isnan(v)}


@dataclass
class Row:
    """One metric of one group, compared with the first group.

    Attributes:
        metric, group: names.
        count: number of runs, or of samples for a score that only samples have.
        mean, spread: their mean and standard deviation (n - 1; NaN for one run).
        difference: mean difference to the first group over the runs (or samples) that both have.
        p_value: p value of a paired t-test over these runs; NaN for fewer than two.
        interval: 95 % bootstrap interval of the mean difference over samples; None without.
    """

    metric: str
    group: str
    count: int
    mean: float
    spread: float
    difference: float = math.nan
    p_value: float = math.nan
    interval: tuple[float, float] | None = None


@dataclass
class Comparison:
    """The table, and remarks.

    Attributes:
        rows: rows by metric, then group.
        notes: sentences about metrics, runs or samples that are missing in some groups.
    """

    rows: list[Row]
    notes: list[str]


def read_group(path: str | Path) -> Group:
    """Reads a folder of runs, one ``metrics.json``, or one table of samples.

    A folder holds ``seedN/metrics.json`` and ``seedN/samples.csv`` as run_seeds.py writes them, or
    such files themselves.

    Raises:
        MissingFileError: none of these files exists.
        DataError: a file has another content than its name says.
    """
    path = Path(path)
    if path.is_file() and path.suffix == '.csv':
        group = Group(path.stem)
        _add_samples(group, path)
        return group
    if path.is_file():
        return Group(_name_of(path), {path.parent.name: _metrics(path)})
    files = sorted(path.glob('*/metrics.json')) or sorted(path.glob('metrics.json'))
    if not files:
        raise MissingFileError(
            f'{path} holds no metrics.json, nor do its folders; tools/test.py --out writes one, '
            'tools/analysis_tools/run_seeds.py one per seed.'
        )
    group = Group(path.name, {file.parent.name: _metrics(file) for file in files})
    for file in files:
        if file.with_name('samples.csv').is_file():
            _add_samples(group, file.with_name('samples.csv'))
    return group


def _name_of(path):
    return path.parent.name if path.stem == 'metrics' and path.parent.name else path.stem


def _metrics(path):
    try:
        found = json.loads(path.read_text())
        return {key: float(value) for key, value in found.items() if _is_number(value)}
    except (ValueError, AttributeError) as error:
        raise DataError(f'{path} holds no metrics ({error}).') from error


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _add_samples(group, path):
    for row in sample_scores.read_csv(path):
        scores = group.samples.setdefault(row['sample'], {})
        for key in sample_scores.columns([row]):
            scores.setdefault(key, []).append(row[key])


def compare(
    groups: Sequence[Group], metrics: Sequence[str] | None = None, resamples: int = RESAMPLES
) -> Comparison:
    """Compares groups with the first one.

    The paired test compares runs with the same name (a seed). It shows whether a difference is
    larger than the random variation between trainings. The bootstrap uses samples (their means over
    a group's runs). It shows whether the difference is larger than the random variation of the test
    set.

    Args:
        groups: the groups; all are compared with the first.
        metrics: metrics to compare. Default: all metrics, including scores per sample.
        resamples: number of bootstrap resamples.

    Raises:
        ConfigError: no group has a metric, or two groups have the same name.
    """
    names = [group.name for group in groups]
    if len(set(names)) < len(names):
        raise ConfigError(f'two of the groups have one name: {names}; name their folders apart.')
    known = dict.fromkeys(
        key for g in groups for scores in [*g.runs.values(), *g.samples.values()] for key in scores
    )
    for metric in metrics or ():
        if metric not in known:
            raise ConfigError(f'no run has the metric {metric!r}; there are {", ".join(known)}.')
    rows, notes = [], []
    for metric in metrics or known:
        have = [group for group in groups if group.values(metric) or _by_sample(group, metric)]
        lacking = [group.name for group in groups if group not in have]
        if lacking:
            notes.append(f'{metric}: {", ".join(lacking)} has no such value.')
        rows += [_row(metric, group, groups[0], resamples, notes) for group in have]
    return Comparison(rows, list(dict.fromkeys(notes)))


def _row(metric, group, base, resamples, notes):
    values = group.values(metric)
    samples, base_samples = _by_sample(group, metric), _by_sample(base, metric)
    known = list(values.values()) or list(samples.values())
    row = Row(metric, group.name, len(values) or len(known), float(np.mean(known)), math.nan)
    if len(known) > 1:
        row.spread = float(np.std(known, ddof=1))
    if group is base:
        return row
    base_values = base.values(metric)
    shared = [run for run in values if run in base_values]
    alone = sorted(set(values) ^ set(base_values))
    if values and base_values and alone:
        notes.append(f'{metric}, {base.name} and {group.name}: {", ".join(alone)} of one only.')
    if shared:
        differences = np.array([values[run] - base_values[run] for run in shared])
        row.difference = float(differences.mean())
        if len(shared) > 1 and differences.std() > 0:
            row.p_value = float(stats.ttest_1samp(differences, 0).pvalue)
    both = [name for name in samples if name in base_samples]
    lost = len(set(samples) ^ set(base_samples))
    if both:
        if lost:
            notes.append(
                f'{metric}, {base.name} and {group.name}: {lost} samples have no defined score in '
                'one of them; the interval is over the others.'
            )
        differences = np.array([samples[name] - base_samples[name] for name in both])
        if math.isnan(row.difference):
            row.difference = float(differences.mean())
        row.interval = bootstrap_interval(differences, resamples)
    return row


def _by_sample(group, metric):
    found = {}
    for name, scores in group.samples.items():
        values = [value for value in scores.get(metric, ()) if not math.isnan(value)]
        if values:
            found[name] = float(np.mean(values))
    return found


def bootstrap_interval(
    differences: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Computes the 95 % percentile interval of the mean of (N,) differences, by resampling with
    replacement.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, sec. 13.3.
    """
    generator, means = np.random.default_rng(seed), []
    block = max(1, 2_000_000 // len(differences))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        chosen = generator.integers(len(differences), size=(rows, len(differences)))
        means.append(differences[chosen].mean(1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def largest_differences(
    first: Sequence[sample_scores.Row],
    second: Sequence[sample_scores.Row],
    count: int,
    metric: str | None = None,
) -> list[tuple[sample_scores.Row, sample_scores.Row]]:
    """Returns the samples whose scores differ most, the largest difference first.

    Raises:
        ConfigError: one table does not have the score.
        DataError: no sample is in both tables.
    """
    metric = metric or next((k for k in sample_scores.columns(first)), '')
    for rows in (first, second):
        if metric not in sample_scores.columns(rows):
            raise ConfigError(
                f'one table has no score {metric!r}; it has '
                f'{", ".join(sample_scores.columns(rows))}.'
            )
    other = {row['sample']: row for row in second}
    pairs = [
        (row, other[row['sample']])
        for row in first
        if row['sample'] in other
        and not math.isnan(row[metric])
        and not math.isnan(other[row['sample']][metric])
    ]
    if not pairs:
        raise DataError('the tables have no sample in common: are they of the same test set?')
    return sorted(pairs, key=lambda pair: -abs(pair[0][metric] - pair[1][metric]))[:count]
