"""Running a model over a scene tile by tile, with blending; resumable, without empty tiles."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rs_mm.errors import DataError

from .scratch import InMemory, Scratch
from .tiling import Tiling, blend_strip


@dataclass
class Times:
    """The seconds spent on a scene, by kind of work."""

    reading: float = 0.0
    model: float = 0.0
    writing: float = 0.0

    def shares(self) -> str:
        """Returns the shares as text, e.g. ``reading 12 %, model 80 %, writing 8 %``."""
        total = max(self.reading + self.model + self.writing, 1e-9)
        return ', '.join(
            f'{name} {getattr(self, name) / total:.0%}' for name in ('reading', 'model', 'writing')
        )


@dataclass
class SceneRun:
    """One pass of a model over a scene.

    Attributes:
        tiling: the windows.
        read: function from (rows, columns) to (input of the model, valid (h, w) bool). It is called
            from one thread at a time.
        predict: function from a list of inputs to a list of (C, h, w) float32.
        reduce: function from a blended strip (C, rows, width), with NaN for unknown pixels, to the
            arrays to keep, by name.
        scratch: storage of finished tiles and strips.
        batch: number of tiles that are predicted together, also after a resume.
        progress: print the progress on standard error.
    """

    tiling: Tiling
    read: Callable[[slice, slice], tuple[Any, np.ndarray]]
    predict: Callable[[list], Sequence[np.ndarray]]
    reduce: Callable[[np.ndarray], dict[str, np.ndarray]]
    scratch: Scratch | InMemory
    batch: int = 1
    progress: bool = False
    times: Times = field(default_factory=Times)
    valid_pixels: int = 0

    def run(self) -> None:
        """Predicts the tiles that are not finished.

        Raises:
            DataError: no pixel of the scene is valid.
        """
        report = _Progress(len(self.tiling), self.progress)
        for strip in range(len(self.tiling.strips())):
            if self._strip_done(strip):
                report.passed(len(self.tiling.column_spans))
                continue
            self._finish_row_of_tiles(strip, report)  # the rows above are finished
            self._finish_strip(strip)
        report.close()
        self._count_valid()

    def strips(self, name: str) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (first row, rows) of the array ``name`` of ``reduce``, from top to bottom."""
        for strip, (first, _) in enumerate(self.tiling.strips()):
            yield first, self.strip(name, strip)

    def strip(self, name: str, number: int) -> np.ndarray:
        """Returns one strip of the array ``name`` of ``reduce``."""
        return self.scratch.load(f'{name}_{number:05d}')

    def _strip_done(self, strip):
        return f'done_{strip:05d}' in self.scratch

    def _finish_strip(self, strip):
        start = time.perf_counter()
        blended = blend_strip(self.tiling, strip, self._load_tile)
        known = ~np.isnan(blended[0])
        for name, array in self.reduce(blended).items():
            self.scratch.save(f'{name}_{strip:05d}', array)
        self.scratch.save(f'done_{strip:05d}', np.array(int(known.sum())))
        needed = set()
        for later in range(strip + 1, len(self.tiling.strips())):
            needed |= set(self.tiling.rows_of_strip(later))
        for row in set(self.tiling.rows_of_strip(strip)) - needed:
            for column in range(len(self.tiling.column_spans)):
                self.scratch.drop(_tile(row, column))
        self.times.writing += time.perf_counter() - start

    def _count_valid(self):
        counts = [
            int(self.scratch.load(f'done_{strip:05d}'))
            for strip in range(len(self.tiling.strips()))
        ]
        self.valid_pixels = sum(counts)
        if not self.valid_pixels:
            raise DataError('no pixel holds data: all are nodata, NaN or infinite.')

    def _load_tile(self, row, column):
        found = self.scratch.load(_tile(row, column))
        return found if found.ndim == 3 else None

    def _finish_row_of_tiles(self, row, report):
        """Predicts the tiles of a row of windows in fixed groups; one thread reads ahead."""
        count = len(self.tiling.column_spans)
        groups = [range(i, min(count, i + self.batch)) for i in range(0, count, self.batch)]
        groups = [g for g in groups if not all(_tile(row, column) in self.scratch for column in g)]
        report.passed(count - sum(len(group) for group in groups))
        with ThreadPoolExecutor(1) as reader:
            ahead = [reader.submit(self._read_group, row, groups[0])] if groups else []
            for number, group in enumerate(groups):
                tiles = ahead.pop().result()
                if number + 1 < len(groups):
                    ahead.append(reader.submit(self._read_group, row, groups[number + 1]))
                self._predict_group(row, group, tiles)
                report.did(len(group))

    def _read_group(self, row, group):
        start = time.perf_counter()
        rows = slice(*self.tiling.row_spans[row])
        tiles = []
        for column in group:
            inputs, valid = self.read(rows, slice(*self.tiling.column_spans[column]))
            tiles.append((inputs if valid.any() else None, valid))
        self.times.reading += time.perf_counter() - start
        return tiles

    def _predict_group(self, row, group, tiles):
        start = time.perf_counter()
        inputs = [found for found, _ in tiles if found is not None]
        outputs = iter(self.predict(inputs) if inputs else ())
        self.times.model += time.perf_counter() - start
        start = time.perf_counter()
        for column, (found, valid) in zip(group, tiles):
            if found is None:  # no valid pixel: a mark instead of an array
                output = np.zeros(0, np.float32)
            else:
                output = np.where(valid, next(outputs), np.float32(np.nan))
            self.scratch.save(_tile(row, column), output)
        self.times.writing += time.perf_counter() - start


def _tile(row, column):
    return f'tile_{row:05d}_{column:05d}'


class _Progress:
    """A progress line with finished tiles and the remaining time, updated on a terminal, otherwise
    printed every half minute."""

    def __init__(self, total, shown):
        self.total, self.shown = total, shown and total > 1
        self.done = self.computed = 0
        self.start = self.last = time.monotonic()

    def passed(self, count):
        """Counts tiles of an earlier run."""
        self.done += count

    def did(self, count):
        self.done += count
        self.computed += count
        now = time.monotonic()
        pause = 1 if sys.stderr.isatty() else 30
        if self.shown and now - self.last >= pause:
            self.last = now
            left = (self.total - self.done) * (now - self.start) / self.computed
            end = '\r' if sys.stderr.isatty() else '\n'
            text = f'tile {self.done} of {self.total}, {_clock(left)} left'
            print(f'{text:40}', end=end, file=sys.stderr, flush=True)

    def close(self):
        if self.shown and sys.stderr.isatty():
            print(f'{"":40}', end='\r', file=sys.stderr, flush=True)


def _clock(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{seconds:02d}'
