"""BigEarthNet from the LMDB that ``bigearthnet_to_lmdb.py`` writes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset

from rs_mm.errors import ConfigError, DataError
from rs_mm.rasters.values import to_uint8
from rs_mm.registry import DATASETS, TRANSFORMS

from ..label_tables import check_unique, read_names
from ..multilabel_dataset import build_pipeline
from ..seeding import SeededSampleMixin
from .bands import GROUPS, SELECTIONS, STATISTICS, select_bands
from .labels import NOMENCLATURES
from .store import PatchReader


@DATASETS.register_module()
class BigEarthNetDataset(SeededSampleMixin, BaseDataset):
    """Sentinel-2 patches of 120 x 120 pixels with multi-hot land-cover labels.

    Each process opens the LMDB at its first sample, so any number of workers, started in any way,
    can read it.

    Every sample has ``name``, ``sample_idx``, ``img_path`` (LMDB and name) and ``reader``, from
    which :class:`LoadBigEarthNetPatch` takes bands and labels. The checksum of the record must
    match.

    Args:
        lmdb_path: folder of the LMDB, relative to ``data_root``.
        ann_file: list of patch names, one per row, relative to ``data_root``. Default:
            every patch of the LMDB.
        num_classes: 19 or 43 (v1 only). An image whose classes are all dropped has an all-zero
            vector of 19. Default: 19.
        exclude: lists of patches to leave out (seasonal snow, cloud, shadow),
            relative to ``data_root``.
        data_root: root of the set. Other arguments as in mmengine's ``BaseDataset``.

    Raises:
        MissingFileError: the LMDB or a list does not exist.
        DataError: the LMDB is damaged, truncated or of another program; or names are listed twice
            or are not in the LMDB.
    """

    METAINFO = dict(task_name='multi_label_retrieval')

    def __init__(
        self,
        lmdb_path: str = '',
        ann_file: str = '',
        num_classes: int = 19,
        exclude: Sequence[str] = (),
        data_root: str = '',
        metainfo: dict | None = None,
        pipeline: Sequence[dict] = (),
        **kwargs: Any,
    ) -> None:
        if num_classes not in NOMENCLATURES:
            raise ConfigError(
                f'BigEarthNetDataset: num_classes={num_classes}; there are 19 and 43 classes.'
            )
        self.num_classes, self.exclude = num_classes, list(exclude)
        self.reader = PatchReader(os.path.join(data_root, lmdb_path))
        metainfo = dict(classes=NOMENCLATURES[num_classes]) | dict(metainfo or {})
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            metainfo=metainfo,
            pipeline=build_pipeline(pipeline),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Returns one dict per patch, with ``name`` and ``img_path``."""
        names = read_names(self.ann_file) if self.ann_file else self.reader.names()
        check_unique(names, self.ann_file)
        if self.ann_file and (missing := self.reader.missing(names)):
            raise DataError(
                f'{self.ann_file}: {len(missing)} of {len(names)} patches are not in '
                f'{self.reader.path}, the first is {missing[0]!r}; convert them, or '
                'use the list that the conversion wrote (splits/*.csv).'
            )
        excluded = {
            name for path in self.exclude for name in read_names(os.path.join(self.data_root, path))
        }
        return [
            dict(name=name, img_path=f'{self.reader.path}:{name}')
            for name in names
            if name not in excluded
        ]

    def get_data_info(self, idx: int) -> dict:
        """Returns a sample with ``reader`` (shared by all samples) and ``num_classes``."""
        return super().get_data_info(idx) | dict(reader=self.reader, num_classes=self.num_classes)

    def names(self) -> list[str]:
        """Returns the names of all samples in order."""
        return [self.get_data_info(i)['name'] for i in range(len(self))]

    def files(self) -> list[tuple[str, int, int]]:
        """Returns name, size and checksum of the record of every sample; (-1, -1) if unreadable.

        So a patch that is added or converted again does not make other patches look changed.
        """
        return [(name, *self.reader.stamp(name)) for name in self.names()]

    def labels(self, rows: Iterable[int] | None = None) -> np.ndarray:
        """Returns the multi-hot labels of all samples or of ``rows``, (N, L) float32.

        Reads no pixels.
        """
        names = [
            self.get_data_info(i)['name'] for i in (range(len(self)) if rows is None else rows)
        ]
        return np.stack(
            [
                read_label(self.reader.read(name, check=False), name, self.num_classes)
                for name in names
            ]
        )

    def get_cat_ids(self, idx: int) -> list[int]:
        """Returns the classes of a sample, for ``ClassBalancedDataset``."""
        return np.flatnonzero(self.labels([idx])[0]).tolist()


def read_true_colour(img_path: str) -> np.ndarray:
    """Returns the patch of a sample's ``img_path`` for display: (120, 120, 3) uint8 RGB,
    stretched."""
    path, _, name = img_path.rpartition(':')
    bands = select_bands(PatchReader(path).read(name), SELECTIONS['rgb'])
    return to_uint8(bands.transpose(1, 2, 0))


def read_label(record: dict[str, np.ndarray], name: str, num_classes: int) -> np.ndarray:
    """Returns the multi-hot labels (num_classes,) float32 of a record."""
    if f'label{num_classes}' not in record:
        raise DataError(
            f'patch {name} has no labels of {num_classes} classes: BigEarthNet v2 is '
            'published with 19; set num_classes=19.'
        )
    return record[f'label{num_classes}'].astype(np.float32)


@TRANSFORMS.register_module()
class LoadBigEarthNetPatch(BaseTransform):
    """Reads bands and labels of a patch of :class:`BigEarthNetDataset`.

    Adds ``img`` ((120, 120, C) float32, digital numbers; coarse bands are enlarged, see
    :func:`~rs_mm.datasets.bigearthnet.bands.upsample`), ``band_names`` and ``gt_label``.

    Args:
        bands: ``'rgb'`` (B04, B03, B02), ``'10'`` (10 m, then 20 m bands),
            ``'12'`` (60 m too), or band names. Default: ``'rgb'``.
    """

    def __init__(self, bands: str | Sequence[str] = 'rgb') -> None:
        names = SELECTIONS.get(bands, (bands,)) if isinstance(bands, str) else tuple(bands)
        if unknown := set(names) - set(sum(GROUPS.values(), ())):
            raise ConfigError(
                f'LoadBigEarthNetPatch: unknown bands {sorted(unknown)}; choose '
                f'{", ".join(map(repr, SELECTIONS))} or of {sorted(STATISTICS)}.'
            )
        self.bands = names

    def transform(self, results: dict) -> dict:
        if 'reader' not in results:
            raise ConfigError(
                'LoadBigEarthNetPatch reads the LMDB of a BigEarthNetDataset, not '
                f'files such as {results.get("img_path")}; use a config whose '
                'pipeline starts with LoadBandImage or LoadRGBImage.'
            )
        reader, num_classes = results.pop('reader'), results.pop('num_classes')
        record = reader.read(results['name'])
        try:
            bands = select_bands(record, self.bands)
        except (KeyError, IndexError, ValueError) as error:
            raise DataError(
                f'{results["img_path"]}: the record is not a Sentinel-2 patch: arrays '
                f'{ {key: array.shape for key, array in record.items()} }; convert '
                'the data again.'
            ) from error
        # a view: the bands stay contiguous in memory
        results['img'] = bands.transpose(1, 2, 0)
        results['ori_shape'] = results['img_shape'] = results['img'].shape[:2]
        results['band_names'] = self.bands
        results['gt_label'] = read_label(record, results['name'], num_classes)
        return results


@TRANSFORMS.register_module()
class NormalizeBigEarthNet(BaseTransform):
    """Subtracts the published mean of each band and divides by its standard deviation.

    Required keys: ``img`` (H, W, C) and ``band_names``.
    """

    def transform(self, results: dict) -> dict:
        mean, std = np.array([STATISTICS[band] for band in results['band_names']], np.float32).T
        img = np.subtract(results['img'], mean)
        results['img'] = np.divide(img, std, out=img)
        return results
