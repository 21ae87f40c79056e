"""Episodes over your own classes: images and masks in folders, all other settings in the config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rs_mm.errors import ConfigError, suggest
from rs_mm.registry import DATASETS

from .few_shot_dataset import FewShotDataset


@DATASETS.register_module()
class FewShotFolders(FewShotDataset):
    """A dataset of episodes from two folders of images and label maps; the config gives the
    classes.

    A label map holds 0 for the background, i for the i-th of ``classes``, and 255 for unknown
    pixels. ``tools/dataset_converters/fewshot_lists.py`` writes the lists from the maps.

    Args:
        data_root: root of the data set.
        classes: names; the first has the number 1 in the label maps.
        folds: number of folds into which the classes are divided, in their order; or, for each
            fold, the names of the classes that it holds out.
        images, masks: folders relative to ``data_root``, or one folder each for ``trn`` and
            ``val``.
        image_suffix, mask_suffix: suffix of the files, e.g. ``.jpg``.
        list_dir: folder with ``{trn,val}/fold{i}.txt``. Default: ``lists`` in ``data_root``.
        fold, split, shots, seed, ...: see :class:`FewShotDataset`.

    Raises:
        ConfigError: the folds do not hold each class once, or there are fewer classes than folds.

    Examples:
        >>> FewShotFolders('data/farms', fold=0, split='val', classes=['pond', 'barn', 'silo'],
        ...                folds=[['pond'], ['barn', 'silo']], image_suffix='.tif')
    """

    def __init__(
        self,
        data_root: str,
        fold: int,
        split: str,
        *,
        classes: Sequence[str],
        folds: int | Sequence[Sequence[str]] = 1,
        images: str | Mapping[str, str] = 'images',
        masks: str | Mapping[str, str] = 'masks',
        image_suffix: str = '.png',
        mask_suffix: str = '.png',
        list_dir: str | None = None,
        metainfo: dict | None = None,
        **kwargs: Any,
    ) -> None:
        self._classes = tuple(classes)
        if len(set(self._classes)) < len(self._classes) or not self._classes:
            raise ConfigError('FewShotFolders: `classes` must name at least one class, each once.')
        self._groups = self.read_folds(folds, self._classes)
        self.folds = len(self._groups)
        self.suffixes = image_suffix, mask_suffix
        self.folders = [_by_split(value) for value in (images, masks)]
        super().__init__(
            data_root,
            fold,
            split,
            list_dir=list_dir or str(Path(data_root) / 'lists'),
            metainfo={**(metainfo or {}), 'classes': self._classes},
            **kwargs,
        )

    @property
    def classes(self) -> Sequence[str]:
        """The names of all classes."""
        return self._classes

    def fold_classes(self) -> list[list[int]]:
        """The classes of each fold, counted from 0."""
        return self._groups

    def files(self, name: str) -> tuple[str, str]:
        """Returns the paths of an image and of its label map."""
        image, mask = (
            str(Path(self.data_root) / folder[self.split] / f'{name}{suffix}')
            for folder, suffix in zip(self.folders, self.suffixes)
        )
        return image, mask

    @staticmethod
    def read_folds(folds: int | Sequence[Sequence[str]], classes: Sequence[str]) -> list[list[int]]:
        """Returns the numbers of the classes of each fold, from 0; see ``folds`` of the class."""
        count = len(classes)
        if isinstance(folds, int):
            if not 1 <= folds <= count:
                raise ConfigError(
                    f'FewShotFolders: `folds` is {folds}, but there are {count} classes.'
                )
            ends = [round(i * count / folds) for i in range(folds + 1)]
            return [list(range(*pair)) for pair in zip(ends, ends[1:])]
        named = [name for group in folds for name in group]
        for name in named:
            if name not in classes:
                raise ConfigError(
                    f'FewShotFolders: `folds` names {name!r}, which is not a class'
                    f'{suggest(name, classes)}.'
                )
        if sorted(named) != sorted(classes):
            raise ConfigError('FewShotFolders: `folds` must hold each class once.')
        return [[classes.index(name) for name in group] for group in folds]


def _by_split(folder):
    return folder if isinstance(folder, Mapping) else dict(trn=folder, val=folder)
