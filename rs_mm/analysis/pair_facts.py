"""Facts about a pair of images: ground without data, and the georeference of each date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rs_mm.errors import RSMMError
from rs_mm.rasters import Grid, describe, has_rasterio
from rs_mm.rasters.grid import check_same_grid

_PLAIN = ('.png', '.jpg', '.jpeg', '.bmp')


@dataclass
class PairFacts:
    """Facts about one loaded pair.

    Attributes:
        pixels: pixels of the pair.
        no_data: pixels without data at one of the dates.
        strays: sentences about NaN or infinite values that no nodata value declares.
        unchanged: whether the label holds no change; None without label.
        grids: a sentence if the grids of the dates differ, else None.
    """

    pixels: int
    no_data: int
    strays: list[str]
    unchanged: bool | None
    grids: str | None


def pair_facts(results: dict) -> PairFacts:
    """Collects the facts of a pair after the loading steps of its pipeline."""
    height, width = results['ori_shape']
    valid, label = results.get('valid'), results.get('gt_seg_map')
    return PairFacts(
        pixels=height * width,
        no_data=0 if valid is None else int(valid.size - valid.sum()),
        strays=list(results.get('trouble', ())),
        unchanged=None if label is None else not bool(((label > 0) & (label != 255)).any()),
        grids=_different_grids(results.get('img_path', ())),
    )


def _different_grids(paths: Sequence) -> str | None:
    """Returns a sentence if the dates are not on one grid, because training compares them by
    pixel."""
    files = [path for path in paths if isinstance(path, str)]
    if len(files) != 2 or all(f.lower().endswith(_PLAIN) for f in files) or not has_rasterio():
        return None
    try:
        first, second = (Grid.of(describe(path)) for path in files)
        check_same_grid(first, second, (files[0], files[1]), '; cut tiles by tile_pairs.py')
    except RSMMError as error:
        return str(error)
    return None


def add_facts(found: Sequence[PairFacts], split: str, report: dict) -> None:
    """Adds the facts of the pairs of a split to its report, as problems and notes."""
    report['problems'] += [facts.grids for facts in found if facts.grids]
    report['problems'] += [text for facts in found for text in facts.strays]
    holes = [facts for facts in found if facts.no_data]
    if holes:
        share = sum(f.no_data for f in holes) / sum(f.pixels for f in found)
        report['notes'].append(
            f'{len(holes)} of {len(found)} {split} pairs have pixels without data at a date '
            f'({share:.2%} of all); they are left out of the labels.'
        )
    unchanged = sum(facts.unchanged is True for facts in found)
    if unchanged:
        report['notes'].append(f'{unchanged} of {len(found)} {split} labels hold no change.')
