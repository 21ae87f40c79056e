"""A dataset of an archive to search, in which some images may be unreadable."""

from __future__ import annotations

import logging
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from torch.utils.data import Dataset

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.registry import DATASETS
from rs_mm.structures import EmbeddingDataSample

from .multilabel_dataset import build_pipeline
from .pipeline_identity import describe
from .seeding import SeededSampleMixin
from .wrapped_datasets import dataset_parts

_SCENE = 8  # an image whose sides are this many times those of the model's input is a scene
SUFFIXES = ('.bmp', '.gif', '.jp2', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')


@DATASETS.register_module()
class ImageArchive(SeededSampleMixin, BaseDataset):
    """A dataset of every image below a folder, in the order of the relative paths.

    A sample has ``img_path``, ``name`` (the path relative to ``data_root``, with ``/``) and
    ``sample_idx``. The sample of an image that cannot be read has ``inputs=None``
    and the reason as ``data_samples.unreadable``, so one damaged file does not stop the work on a
    million.

    Args:
        data_root: the folder.
        pipeline: transforms, ending with ``PackEmbeddingInputs``.
        suffixes: image suffixes in lower case.

    Raises:
        MissingFileError: the folder does not exist.
        DataError: the folder holds no image.
    """

    METAINFO = dict(task_name='retrieval')
    _warned = False

    def __init__(
        self,
        data_root: str,
        pipeline: Sequence = (),
        suffixes: Sequence[str] = SUFFIXES,
        **kwargs: Any,
    ) -> None:
        self.suffixes = tuple(suffixes)
        super().__init__(
            data_root=data_root, pipeline=build_pipeline(pipeline), test_mode=True, **kwargs
        )

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root).absolute()  # valid in any working folder
        if not root.is_dir():
            raise MissingFileError(f'there is no folder {root} to search in.')
        names = self.list_names(root)
        if not names:
            raise DataError(
                f'{root} is an empty archive: no file below it has one of the suffixes '
                f'{" ".join(self.suffixes)}.'
            )
        return [dict(img_path=str(root / name), name=name) for name in names]

    def list_names(self, root: Path) -> list[str]:
        """Paths of the images, relative to ``root``, sorted.

        Links are followed, but a folder or file counts once, with any number of links to it. So a
        link from a folder into itself does not make an endless archive.
        """
        found: list[str] = []
        links: list[Path] = []
        seen: set[str] = set()

        def walk(folder: Path) -> None:
            place = os.path.realpath(folder)
            if place in seen:
                return
            seen.add(place)
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                path = folder / entry.name
                if entry.is_symlink():
                    links.append(path)
                elif entry.is_dir():
                    walk(path)
                elif entry.name.lower().endswith(self.suffixes):
                    found.append(path.relative_to(root).as_posix())

        walk(root)
        # folders of the archive come before the targets of links
        files = {os.path.realpath(root / name) for name in found} if links else set()
        for link in links:  # the list grows if a linked folder holds links
            if link.is_dir():
                before = len(found)
                walk(link)
                files.update(os.path.realpath(root / name) for name in found[before:])
            elif link.name.lower().endswith(self.suffixes):
                place = os.path.realpath(link)
                if place not in files:
                    files.add(place)
                    found.append(link.relative_to(root).as_posix())
        return sorted(found)

    def names(self) -> list[str]:
        """Returns the names of all samples in order."""
        return [self.get_data_info(i)['name'] for i in range(len(self))]

    def files(self) -> list[tuple[str, int, int]]:
        """Returns name, size in bytes and time of change in ns of every file; (-1, -1) if
        missing."""
        return [file_stamp(self.get_data_info(i)) for i in range(len(self))]

    def prepare_data(self, idx: int) -> dict:
        info = self.get_data_info(idx)
        try:
            sample = self.pipeline(dict(info))
        except (DataError, OSError) as error:
            return unreadable_sample(info, error)
        self._warn_of_scenes(sample)
        return sample

    def _warn_of_scenes(self, sample):
        """Says once that a picture is much larger than what the model sees of it."""
        before = sample['data_samples'].get('ori_shape')
        side = max(sample['inputs'].shape[-2:])
        if self._warned or not before or max(before) < _SCENE * side:
            return
        self._warned = True
        print_log(
            f'{sample["data_samples"].img_path} is {before[1]} x {before[0]} pixels and is reduced '
            f'to {side}: what is small in it is lost; tools/retrieval/search.py --archive searches '
            'such scenes in parts.',
            'current',
            level=logging.WARNING,
        )


@DATASETS.register_module()
class AnyArchive(Dataset):
    """A wrapper of another dataset that reports an unreadable image instead of raising an error.

    The class also takes mmengine's wrappers: it lists the parts of a ``ConcatDataset`` one after
    another, and the images of a ``RepeatDataset`` or ``ClassBalancedDataset`` once.

    Args:
        dataset: config of a dataset whose samples have ``name``, ``img_path`` and
            ``sample_idx``. It may have ``files()`` as :class:`ImageArchive` has.

    Attributes:
        pipeline: the pipeline of the dataset; a list if parts have different pipelines.
        data_root: the root of the dataset; a list if parts have different roots.

    Raises:
        ConfigError: the dataset cannot give the name and path of its samples.
    """

    def __init__(self, dataset: dict) -> None:
        self.parts = [DATASETS.build(part) for part in dataset_parts(dataset)]
        for part in self.parts:
            if not (hasattr(part, 'get_data_info') and hasattr(part, 'pipeline')):
                raise ConfigError(
                    f'{type(part).__name__} cannot be taken as an archive: it has no '
                    '`get_data_info` and `pipeline`, as datasets derived from '
                    "mmengine's BaseDataset have; name that dataset instead."
                )
        self.ends = list(accumulate(map(len, self.parts)))
        pipelines = {describe(part.pipeline): part.pipeline for part in self.parts}
        self.pipeline = [*pipelines.values()]
        if len(self.pipeline) == 1:
            self.pipeline = self.pipeline[0]
        self.data_root = ', '.join(dict.fromkeys(str(part.data_root) for part in self.parts))

    def __len__(self) -> int:
        return self.ends[-1]

    def _find(self, idx):
        number = bisect_right(self.ends, idx)
        return self.parts[number], idx - (self.ends[number - 1] if number else 0)

    def __getitem__(self, idx: int) -> dict:
        part, place = self._find(idx)
        try:
            return part[place]
        except (DataError, OSError) as error:
            return unreadable_sample(part.get_data_info(place), error)

    def get_data_info(self, idx: int) -> dict:
        """Returns the information of the dataset about a sample."""
        part, place = self._find(idx)
        return part.get_data_info(place)

    def files(self) -> list[tuple[str, int, int]]:
        """See :meth:`ImageArchive.files`."""
        return [file for part in self.parts for file in _files(part)]


def _files(dataset):
    if hasattr(dataset, 'files'):
        return dataset.files()
    return [file_stamp(dataset.get_data_info(i)) for i in range(len(dataset))]


def unreadable_sample(info: dict, error: Exception) -> dict:
    """Returns the sample of an image that cannot be read."""
    meta = {key: info[key] for key in ('sample_idx', 'name', 'img_path')}
    sample = EmbeddingDataSample(metainfo=dict(meta, unreadable=str(error)))
    return dict(inputs=None, data_samples=sample)


def file_stamp(info: dict) -> tuple[str, int, int]:
    """Returns (name, bytes, time of change in ns) of one sample's file."""
    try:
        status = os.stat(info['img_path'])
    except OSError:
        return info['name'], -1, -1
    return info['name'], status.st_size, status.st_mtime_ns
