"""An archive to search: images, of which some may be unreadable."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset

from rs_mm.errors import DataError, MissingFileError
from rs_mm.registry import DATASETS
from rs_mm.structures import EmbeddingDataSample

from .multilabel import build_pipeline
from .seeding import SeededSampleMixin

SUFFIXES = ('.bmp', '.gif', '.jp2', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')


@DATASETS.register_module()
class ImageArchive(SeededSampleMixin, BaseDataset):
    """Every image below a folder, in the order of their relative paths.

    A sample has ``img_path``, ``name`` (the path relative to ``data_root``, with ``/``) and
    ``sample_idx``. Of an image that cannot be read the sample has ``inputs=None`` and the reason as
    ``data_samples.unreadable``, so that one damaged file does not end the work on a million.

    Args:
        data_root (str): the folder.
        pipeline (Sequence): transforms, ending with ``PackEmbeddingInputs``.
        suffixes (Sequence[str]): image suffixes in lower case.

    Raises:
        MissingFileError: if the folder does not exist.
        DataError: if it holds no image.
    """

    METAINFO = dict(task_name='retrieval')

    def __init__(self, data_root: str, pipeline=(), suffixes: Sequence[str] = SUFFIXES, **kwargs):
        self.suffixes = tuple(suffixes)
        super().__init__(data_root=data_root, pipeline=build_pipeline(pipeline), test_mode=True,
                         **kwargs)

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        if not root.is_dir():
            raise MissingFileError(f'there is no folder {root} to search in.')
        names = self.list_names(root)
        if not names:
            raise DataError(f'{root} is an empty archive: no file below it has one of the suffixes '
                            f'{" ".join(self.suffixes)}.')
        return [dict(img_path=str(root / name), name=name) for name in names]

    def list_names(self, root: Path) -> list[str]:
        """Paths of the images, relative to ``root``, sorted."""
        found = []
        for folder, _, files in os.walk(root, followlinks=True):
            relative = Path(folder).relative_to(root)
            found += [(relative / file).as_posix() for file in files
                      if file.lower().endswith(self.suffixes)]
        return sorted(found)

    def names(self) -> list[str]:
        """Names of all samples in order."""
        return [self.get_data_info(i)['name'] for i in range(len(self))]

    def files(self) -> list[tuple[str, int, int]]:
        """Name, size in bytes and time of change in ns of every file; (-1, -1) if missing."""
        return [file_stamp(self.get_data_info(i)) for i in range(len(self))]

    def prepare_data(self, idx: int) -> dict:
        info = self.get_data_info(idx)
        try:
            return self.pipeline(dict(info))
        except (DataError, OSError) as error:
            return unreadable_sample(info, error)


@DATASETS.register_module()
class AnyArchive(Dataset):
    """Another dataset as an archive: an image that cannot be read is told instead of raised.

    Args:
        dataset (dict): config of a dataset whose samples have ``name``, ``img_path`` and
            ``sample_idx``. It may have ``files()`` as :class:`ImageArchive` has.
    """

    def __init__(self, dataset: dict):
        self.dataset = DATASETS.build(dataset)
        self.pipeline, self.data_root = self.dataset.pipeline, self.dataset.data_root

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, idx: int) -> dict:
        try:
            return self.dataset[idx]
        except (DataError, OSError) as error:
            return unreadable_sample(self.get_data_info(idx), error)

    def get_data_info(self, idx: int) -> dict:
        """What the dataset knows of a sample."""
        return self.dataset.get_data_info(idx)

    def files(self) -> list[tuple[str, int, int]]:
        """See :meth:`ImageArchive.files`."""
        if hasattr(self.dataset, 'files'):
            return self.dataset.files()
        return [file_stamp(self.get_data_info(i)) for i in range(len(self))]


def unreadable_sample(info: dict, error: Exception) -> dict:
    """The sample of an image that cannot be read."""
    meta = {key: info[key] for key in ('sample_idx', 'name', 'img_path')}
    sample = EmbeddingDataSample(metainfo=dict(meta, unreadable=str(error)))
    return dict(inputs=None, data_samples=sample)


def file_stamp(info: dict) -> tuple[str, int, int]:
    """(name, bytes, time of change in ns) of one sample's file."""
    try:
        status = os.stat(info['img_path'])
    except OSError:
        return info['name'], -1, -1
    return info['name'], status.st_size, status.st_mtime_ns
