"""The dataset class for all sets of images with multi-hot labels."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.registry import DATASETS, TASK_UTILS, TRANSFORMS

from .label_tables import (
    CLASSES,
    LabelTable,
    check_class_names,
    read_label_table,
    read_names,
    read_split_file,
)
from .seeding import SeededSampleMixin

SUFFIXES = ('.tif', '.tiff', '.png', '.jpg', '.jpeg', '.bmp')


def build_pipeline(pipeline: Sequence[dict]) -> list:
    """Builds transforms in rs_mm's scope, so a dataset also works outside a Runner."""
    return [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]


@DATASETS.register_module()
class MultiLabelDataset(SeededSampleMixin, BaseDataset):
    """A dataset of images with multi-hot labels: UCM, AID, WHDLD, DFC15, or your own.

    The labels of a split come either from ``ann_file`` (a split file: ``name,0/1,...`` per row,
    the header optional) or from ``label_table`` (all images, with header) and ``split``. Without
    both, every image of ``img_dirs`` is a sample without label, which is enough for embedding and
    search.

    Images are found by name: the folders are listed once, and any suffix of ``suffixes`` (upper
    case too) counts. One folder per scene class is ``img_dirs='Images/*'``.

    Every sample has ``img_path``, ``name``, ``sample_idx`` and, if labels are known, ``gt_label``
    ((L,) float32 of 0 and 1).

    Args:
        img_dirs: folders with images, relative to ``data_root``; wildcards are allowed. Default:
            ``'Images'``.
        ann_file: split file, relative to ``data_root``.
        label_table: ``'ucm'``, ``'aid'``, ``'dfc15'`` (part of rs_mm), or a file relative to
            ``data_root``.
        split: rows of ``label_table`` to keep: names, a file whose first column is names, or the
            config of a registered task util that is called with ``{name: path}`` (in the order of
            the table) and returns the names of this split in order. Default: every row.
        classes: class names, or one of ``'ucm'``, ``'aid'``,
            ``'dfc15'``, ``'whdld'`` for the published ones. Columns of a file with a header are put
            into this order. Default: the header, or ``class_0`` … for a file without header.
        suffixes: image suffixes in lower case.
        data_root: root of the set. Other arguments as in mmengine's ``BaseDataset``.

    Raises:
        DataError: a row has another length, a label is not 0 or 1, or a name is listed twice, has
            no image, or has several images; the message names file and line, or the image.

    Examples:
        >>> MultiLabelDataset(data_root='data/ucm', ann_file='train.csv', classes='ucm')
        >>> MultiLabelDataset(data_root='data/UCMerced', img_dirs='Images/*', label_table='ucm',
        ...                   split='train_names.txt')
    """

    METAINFO = dict(task_name='multi_label_retrieval')

    def __init__(
        self,
        img_dirs: str | Sequence[str] = 'Images',
        ann_file: str = '',
        label_table: str | None = None,
        split: Sequence[str] | str | dict | None = None,
        classes: str | Sequence[str] | None = None,
        suffixes: Sequence[str] = SUFFIXES,
        data_root: str = '',
        metainfo: dict | None = None,
        pipeline: Sequence[dict] = (),
        **kwargs: Any,
    ) -> None:
        if ann_file and label_table:
            raise ConfigError('MultiLabelDataset: give `ann_file` or `label_table`, not both.')
        if split is not None and label_table is None:
            raise ConfigError(
                'MultiLabelDataset: `split` selects rows of `label_table`, which is not given.'
            )
        if isinstance(classes, str):
            if classes not in CLASSES:
                raise ConfigError(
                    f'MultiLabelDataset: no class names are known for {classes!r}; '
                    f'known: {", ".join(sorted(CLASSES))}, or give a list.'
                )
            classes = CLASSES[classes]
        self.img_dirs = [img_dirs] if isinstance(img_dirs, str) else list(img_dirs)
        self.label_table, self.split = label_table, split
        self.suffixes = tuple(suffixes)
        metainfo = dict(metainfo or {})
        if classes is not None:
            check_class_names(list(classes), 'MultiLabelDataset: classes')
            metainfo['classes'] = tuple(classes)
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            metainfo=metainfo,
            pipeline=build_pipeline(pipeline),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Returns one dict per sample: ``img_path``, ``name`` and, if known, ``gt_label``."""
        paths = self._index_images()
        if not self.ann_file and self.label_table is None:
            return [dict(img_path=path, name=name) for name, path in sorted(paths.items())]
        table = self._read_split() if self.ann_file else self._read_table(paths)
        lost = [(name, line) for name, line in zip(table.names, table.lines) if name not in paths]
        if lost:
            name, line = lost[0]
            raise DataError(
                f'{table.path}, line {line}: {name!r} has no image in {self._where()} '
                f'({"/".join(self.suffixes)}); {len(lost)} of {len(table.names)} '
                'names have none.'
            )
        return [
            dict(img_path=paths[name], name=name, gt_label=label)
            for name, label in zip(table.names, table.labels.astype(np.float32))
        ]

    def labels(self, rows: Iterable[int] | None = None) -> np.ndarray:
        """Returns the multi-hot labels of all samples or of ``rows``, (N, L) float32."""
        rows = range(len(self)) if rows is None else rows
        return np.stack([self.get_data_info(i)['gt_label'] for i in rows])

    def get_cat_ids(self, idx: int) -> list[int]:
        """Returns the classes of a sample, for ``ClassBalancedDataset``."""
        return np.flatnonzero(self.labels([idx])[0]).tolist()

    def names(self) -> list[str]:
        """Returns the names of all samples in order."""
        return [self.get_data_info(i)['name'] for i in range(len(self))]

    def _read_split(self) -> LabelTable:
        table = read_split_file(self.ann_file, self._num_classes())
        names = table.classes or tuple(f'class_{i}' for i in range(table.labels.shape[1]))
        self._metainfo.setdefault('classes', names)
        return table.ordered(self._metainfo['classes'])

    def _read_table(self, paths) -> LabelTable:
        source = Path(self.data_root) / self.label_table
        table = read_label_table(str(source) if source.is_file() else self.label_table)
        self._metainfo.setdefault('classes', table.classes)
        table = table.ordered(self._metainfo['classes'])
        if self.split is None:
            return table
        on_disk = {name: paths[name] for name in table.names if name in paths}
        return table.select(self._split_names(on_disk))

    def _split_names(self, paths):
        if isinstance(self.split, dict):
            return TASK_UTILS.build(self.split)(paths)
        if isinstance(self.split, str):
            return read_names(str(Path(self.data_root) / self.split))
        return self.split

    def _index_images(self) -> dict[str, str]:
        """Lists every folder once: name -> path."""
        found, twice = {}, []
        root = glob.escape(self.data_root)
        folders = [
            Path(folder)
            for pattern in self.img_dirs
            for folder in sorted(glob.glob(os.path.join(root, pattern)))
            if os.path.isdir(folder)
        ]
        if not folders:
            raise MissingFileError(f'no folder {self._where()}; check `data_root` and `img_dirs`.')
        for folder in folders:
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in self.suffixes:
                    if path.stem in found:
                        twice.append((found[path.stem], str(path)))
                    found.setdefault(path.stem, str(path))
        if twice:
            raise DataError(
                f'two images have the same name: {twice[0][0]} and {twice[0][1]} '
                f'({len(twice)} such pairs); narrow `img_dirs` or `suffixes`.'
            )
        if not found:
            raise MissingFileError(
                f'{self._where()}: no image with a suffix of {"/".join(self.suffixes)}.'
            )
        return found

    def _where(self):
        return ', '.join(os.path.join(self.data_root, folder) for folder in self.img_dirs)

    def _num_classes(self):
        classes = self._metainfo.get('classes')
        return None if classes is None else len(classes)
