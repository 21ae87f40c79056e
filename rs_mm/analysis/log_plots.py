"""Plots of losses, learning rates and metrics of runs, from mmengine's scalar logs."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.files import atomic_path, atomic_write

# counters and speed; base_lr equals lr except for parameter groups with their own rates
_NOT_DRAWN = (
    *('step', 'iter', 'epoch', 'time', 'data_time', 'data_wait'),
    *('memory', 'samples_per_second', 'base_lr'),
)
Scalars = dict[str, list[tuple[int, float]]]


def read_log(run: str | Path) -> Scalars:
    """Reads all scalars of a run: name -> (step, value) in the order of the steps.

    Args:
        run: a work folder, whose starts are joined (a resumed run has several), or one
            ``scalars.json`` or ``TIMESTAMP.json``.

    Raises:
        MissingFileError: the log does not exist.
        DataError: the log holds no scalars.
    """
    run = Path(run)
    files = [run] if run.is_file() else sorted(run.glob('**/vis_data/scalars.json'))
    files = [file for file in files if 'test' not in file.relative_to(run).parts[:-3]]
    if not files:
        raise MissingFileError(f'{run} holds no vis_data/scalars.json, the log of a training.')
    points: dict[str, dict[int, float]] = {}
    for file in files:
        for line in file.read_text().splitlines():
            try:
                record = json.loads(line)
                step = int(record.get('step', record.get('iter')))
            except (ValueError, TypeError, AttributeError):
                continue  # the incomplete last line of a killed run
            for key, value in record.items():
                if isinstance(value, (int, float)):
                    points.setdefault(key, {})[step] = float(value)
    if not any(key not in _NOT_DRAWN for key in points):
        raise DataError(f'{run} holds no scalars yet.')
    return {key: sorted(values.items()) for key, values in points.items()}


def plot_logs(
    runs: Sequence[str | Path],
    out: str | Path,
    keys: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    smooth: float = 0.0,
) -> list[str]:
    """Draws one panel per scalar with a line per run, and writes the numbers as CSV.

    Args:
        runs: see :func:`read_log`.
        out: the picture; the table has the same name with ``.csv``.
        keys: scalars; a name that ends in ``*`` matches all names with this start. Default: all
            except times and memory.
        names: names of the runs in the legend. Default: their folders.
        smooth: 0 to 1, weight of the past in an exponential mean.

    Returns:
        The scalars that were drawn.

    Raises:
        ConfigError: no run has a scalar, or names and runs differ in number.
    """
    if not 0 <= smooth < 1:
        raise ConfigError(f'--smooth {smooth} must be at least 0 and below 1.')
    names = list(names or [_run_name(run, runs) for run in runs])
    if len(names) != len(runs):
        raise ConfigError(f'there are {len(names)} names for {len(runs)} runs.')
    logs = [read_log(run) for run in runs]
    known = list(dict.fromkeys(key for log in logs for key in log if key not in _NOT_DRAWN))
    chosen = known if not keys else [k for key in keys for k in _matching(key, known)]
    columns = min(3, len(chosen))
    height = math.ceil(len(chosen) / columns)
    figure = Figure(figsize=(5.5 * columns, 3.2 * height), layout='constrained')
    panels = figure.subplots(height, columns, squeeze=False).flatten()
    for panel in panels[len(chosen) :]:
        panel.set_visible(False)
    for key, panel in zip(chosen, panels):
        for name, log in zip(names, logs):
            if key in log:
                steps, values = zip(*log[key])
                panel.plot(
                    steps,
                    smoothed(values, smooth if 'loss' in key else 0.0),
                    label=name,
                    marker='.' if len(steps) < 30 else None,
                )
        panel.set(title=key, xlabel='step')
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    with atomic_path(out) as unfinished:
        figure.savefig(unfinished, dpi=110)
    _write_table(Path(out).with_suffix('.csv'), chosen, names, logs)
    return chosen


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Returns the exponential mean of a series, without a bias towards its start."""
    mean, total, result = 0.0, 0.0, []
    for value in values:
        mean, total = weight * mean + (1 - weight) * value, weight * total + (1 - weight)
        result.append(mean / total)
    return result


def _run_name(run, runs):
    path = Path(run).resolve()
    twice = sum(Path(other).resolve().name == path.name for other in runs) > 1
    return f'{path.parent.name}/{path.name}' if twice else path.name


def _matching(key, known):
    found = [k for k in known if k == key or (key.endswith('*') and k.startswith(key[:-1]))]
    if not found:
        raise ConfigError(f'no run has the scalar {key!r}; there are {", ".join(known)}.')
    return found


def _write_table(path, keys, names, logs):
    with atomic_write(path, 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(['run', 'scalar', 'step', 'value'])
        for name, log in zip(names, logs):
            for key in keys:
                writer.writerows([name, key, step, value] for step, value in log.get(key, ()))
