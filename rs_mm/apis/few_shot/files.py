"""Few-shot segmentation of files and folders, for tools/predict_fewshot.py."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.apis.inputs import as_picture
from rs_mm.apis.paths import find_queries
from rs_mm.errors import RSMMError
from rs_mm.files import atomic_write, write_json
from rs_mm.models.utils.model_identity import model_identity
from rs_mm.rasters import Scratch, check_writable
from rs_mm.visualization.sheet import save_sheet

from .maps import write_maps
from .result import FewShotMask
from .scenes import TilePlan
from .segmenter import FewShotSegmenter

_PREVIEW = 1024
_JOBS = '.jobs.json'


@dataclass
class FewShotRow:
    """A row of ``summary.csv``.

    Attributes:
        image: the file.
        status: ``done``, ``kept`` (an earlier run wrote the same), or ``failed``.
        share: share of the pixels with data that show the class.
        pixels: pixels of the class.
        area_m2: area of the class; empty without georeference.
        score: mean probability of the class.
        seconds: time.
        reason: reason of a failure.
    """

    image: str
    status: str = 'done'
    share: float | str = ''
    pixels: int | str = ''
    area_m2: float | str = ''
    score: float | str = ''
    seconds: float | str = ''
    reason: str = ''


def segment_files(
    segmenter: FewShotSegmenter,
    queries: Sequence[str | Path],
    out: str | Path,
    plan: TilePlan | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = False,
    **maps: Any,
) -> list[FewShotRow]:
    """Searches files, folders and scenes of any size, and writes the results.

    Each image gives ``NAME_mask``, ``NAME_probability`` and ``NAME_picture.png``, for a
    georeferenced image GeoTIFFs and ``NAME_polygons``; see :meth:`FewShotMask.save`. Scenes are
    written as they are computed. ``summary.csv`` has a row for each image; after an unreadable
    image the others are processed. Results of an earlier run with the same inputs are kept.

    Args:
        segmenter: with supports.
        queries: files and folders.
        out: folder to write into; subfolders of a query folder are kept.
        plan: how scenes are cut.
        overwrite: compute all images again.
        resume: continue a scene of an interrupted run after its finished tiles.
        progress: print the progress of a scene on standard error.
        **maps: ``polygons`` (suffix) and ``min_area`` of :func:`~.maps.write_maps`.

    Returns:
        The rows of the summary.
    """
    check_writable(out)
    found, out = find_queries(queries), Path(out)
    job = _Job(segmenter, plan or TilePlan(), out, overwrite, resume, progress, maps)
    rows = []
    for path, name in found:
        rows.append(job.run(path, name))
        _write_summary(out / 'summary.csv', rows)
    return rows


class _Job:
    """The settings that all images of a run share."""

    def __init__(self, segmenter, plan, out, overwrite, resume, progress, maps):
        self.segmenter, self.plan, self.out = segmenter, plan, out
        self.overwrite, self.resume, self.progress, self.maps = overwrite, resume, progress, maps
        supports = segmenter.fitted()
        digest = hashlib.sha256(
            supports.images.numpy().tobytes() + supports.masks.numpy().tobytes()
        )
        self.made_by = dict(
            model=model_identity([segmenter.model])['weights'][:16],
            supports=digest.hexdigest()[:16],
            class_name=supports.class_name,
            plan={k: v for k, v in asdict(plan).items() if k != 'batch'},
            bands=segmenter.bands,
            **maps,
        )

    def run(self, path, name):
        start = time.perf_counter()
        row = FewShotRow(str(path))
        try:
            identity = json.loads(json.dumps(dict(self.made_by, image=_stamp(path)), default=str))
            kept = None if self.overwrite else self._kept(name, identity)
            if kept is not None:
                return FewShotRow(**dict(kept, status='kept'))
            written = self._segment(as_picture(path), name, identity, row)
            row.seconds = round(time.perf_counter() - start, 2)
            self._note(name, identity, row, written)
        except (RSMMError, OSError) as error:
            row.status, row.reason = 'failed', str(error)
        return row

    def _segment(self, picture, name, identity, row) -> list[Path]:
        stem = self.out / name
        with self.segmenter.open(picture) as scene:
            supports = self.segmenter.fitted()
            tiling = self.plan.tiling(scene.grid, supports, scene.name)
            if tiling is None or scene.grid.transform is None:
                return self._in_memory(picture, stem, row)
            scratch = Scratch(
                stem.with_name(f'.{stem.name}.tiles'), dict(identity, name=name), self.resume
            )
            votes = self.segmenter.scene_votes(
                scene, tiling, scratch, self.plan.batch, self.progress
            )
            tags = {key: str(value) for key, value in self.made_by.items()}

            def strips():
                return ((first, mask, values) for first, mask, _, values in votes.strips())

            found = write_maps(stem, scene.grid, strips, supports.class_name, tags, **self.maps)
            written = [*found.paths, stem.with_name(f'{stem.name}_picture.png')]
            save_sheet(written[-1], self._picture(scene, strips, name).draw())
            scratch.remove()
        row.pixels, row.share = found.pixels, found.pixels / max(1, found.known)
        row.area_m2 = '' if np.isnan(found.area_m2) else found.area_m2
        row.score = found.score
        return written

    def _in_memory(self, picture, stem, row):
        asked = {k: v for k, v in asdict(self.plan).items() if k != 'batch'}
        result = self.segmenter(picture, batch_size=self.plan.batch, **asked)
        result.name = stem.name
        found = result.mask == 1
        row.pixels, row.share, row.score = int(found.sum()), result.share, result.score
        if result.grid is not None and result.grid.transform is not None:
            from rs_mm.rasters import pixel_areas

            areas = pixel_areas(result.grid)
            row.area_m2 = '' if areas is None else float(found.sum(1) @ areas)
        return result.save(stem.parent, **self.maps)

    def _picture(self, scene, strips, name):
        """Returns the scene and its result, reduced."""
        image = scene.preview(_PREVIEW)
        rows, columns = (
            np.minimum((np.arange(n) + 0.5) * whole / n, whole - 1).astype(int)
            for n, whole in zip(image.shape[:2], scene.grid.shape)
        )
        masks, values = [], []
        for first, mask, probability in strips():
            inside = rows[(rows >= first) & (rows < first + len(mask))] - first
            masks.append(mask[np.ix_(inside, columns)])
            values.append(probability[np.ix_(inside, columns)])
        return FewShotMask(
            mask=np.concatenate(masks),
            votes=np.concatenate(values),
            probability=np.concatenate(values),
            image=image,
            name=name,
            class_name=self.segmenter.fitted().class_name,
            supports=self.segmenter.shown_supports(),
        )

    def _kept(self, name, identity):
        job = _read_jobs(self.out).get(name)
        if job is None or job['identity'] != identity:
            return None
        return job['row'] if all((self.out / file).is_file() for file in job['files']) else None

    def _note(self, name, identity, row, written):
        jobs = _read_jobs(self.out)
        files = [str(path.relative_to(self.out)) for path in written]
        jobs[name] = dict(identity=identity, row=asdict(row), files=files)
        write_json(self.out / _JOBS, jobs)


def _read_jobs(out):
    try:
        return dict(json.loads((out / _JOBS).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _stamp(path: Path) -> list:
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def _write_summary(path, rows):
    with atomic_write(path, 'w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, list(FewShotRow.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(map(asdict, rows))
