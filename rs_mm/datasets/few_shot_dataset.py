"""Episodes of iSAID-5i, DLRSD-5i and PASCAL-5i."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.registry import DATASETS

from .episodes import PACKED, check_class_sizes, draw_supports, group_by_class, read_entries
from .label_maps import read_label_map
from .multilabel_dataset import build_pipeline
from .seeding import SeededSampleMixin


class FewShotDataset(SeededSampleMixin, BaseDataset):
    """A dataset of episodes over the classes of a fold, or over all other classes.

    ``split='trn'`` takes the lists of all other folds, ``split='val'`` the list of the fold. Every
    entry of the lists is the query of one episode. In training, supports are drawn again for each
    use of an entry. With ``test_mode=True`` supports are fixed: they are drawn once from ``seed``,
    in the order of the entries. So they do not depend on workers or on the order of reading, and
    equal the supports of the published code (which seeds numpy with 0).

    With lists of one's own, an entry without a mask, or whose mask does not show its class, is
    no support of others. In a test it is predicted and not scored; in training it is left out.

    Args:
        data_root: root of the data set.
        fold: the fold whose classes are held out.
        split: ``trn`` or ``val``.
        shots: supports in an episode.
        distinct_supports: whether the supports of an episode are different images. The
            published sampling may repeat one.
        keep_unterminated: whether the last line of a list counts if no newline ends it; the
            published code drops it.
        list_dir: folder with ``{trn,val}/fold{i}.txt`` that replaces the published lists, which are
            part of rs_mm.
        seed: seed of the fixed episodes.
        pipeline, test_mode, indices, ...: as in mmengine's ``BaseDataset``.

    Attributes:
        bare: (name, class from 0) of the entries whose mask does not show their class.

    Raises:
        ConfigError: the fold, the split or the number of shots is impossible.
        MissingFileError: ``data_root`` or a list is missing.
        DataError: the lists have no entry, a class has fewer than ``shots`` + 1 images, or a list
            has a class of another fold.
    """

    folds = 3
    packed_lists = ''

    def __init__(
        self,
        data_root: str,
        fold: int,
        split: str,
        shots: int = 1,
        distinct_supports: bool = False,
        keep_unterminated: bool = False,
        list_dir: str | None = None,
        seed: int = 0,
        pipeline: Sequence[dict] = (),
        **kwargs: Any,
    ) -> None:
        if fold not in range(self.folds):
            raise ConfigError(
                f'{type(self).__name__}: `fold` is {fold}, but there are folds 0 to '
                f'{self.folds - 1}.'
            )
        if split not in ('trn', 'val'):
            raise ConfigError(f'{type(self).__name__}: `split` must be trn or val, not {split!r}.')
        if not isinstance(shots, int) or shots < 1:
            raise ConfigError(f'{type(self).__name__}: `shots` must be at least 1, not {shots!r}.')
        self.fold, self.split, self.shots, self.seed = fold, split, shots, seed
        self.distinct_supports, self.keep_unterminated = distinct_supports, keep_unterminated
        self.list_dir = list_dir
        groups = self.fold_classes()
        self.class_ids = sorted(
            label
            for number, group in enumerate(groups)
            for label in group
            if (number == fold) == (split == 'val')
        )
        metainfo = {**(kwargs.pop('metainfo', None) or {}), 'class_ids': self.class_ids}
        super().__init__(
            data_root=data_root,
            metainfo=metainfo,
            data_prefix=dict(),
            pipeline=build_pipeline(pipeline),
            **kwargs,
        )

    @property
    def classes(self) -> Sequence[str]:
        """The names of all classes, in the order of their numbers."""
        return self.METAINFO['classes']

    def fold_classes(self) -> list[list[int]]:
        """The classes of each fold, counted from 0: equal parts of all classes, in their order."""
        size = len(self.classes) // self.folds
        return [list(range(fold * size, (fold + 1) * size)) for fold in range(self.folds)]

    def load_data_list(self) -> list[dict]:
        """Reads the lists, and in test mode draws the supports."""
        if not Path(self.data_root).is_dir():
            raise MissingFileError(
                f'{type(self).__name__}: there is no folder {self.data_root}; '
                'set `data_root`, or see configs/sccnet/README.md for how to '
                'prepare the data.'
            )
        entries = [
            entry
            for path in self._list_files()
            for entry in read_entries(path, self.keep_unterminated)
        ]
        if not entries:
            raise DataError(
                f'{type(self).__name__}: there is no entry in '
                f'{", ".join(map(str, self._list_files()))}.'
            )
        strange = {label for _, label in entries} - set(self.class_ids)
        if strange:
            raise DataError(
                f'{type(self).__name__}: the lists of fold {self.fold}, {self.split}, '
                f'name class {min(strange) + 1}, which is not one of '
                f'{[label + 1 for label in self.class_ids]}.'
            )
        labelled = entries
        if self.list_dir:  # only for the user's own lists; published lists are used as published
            labelled = [entry for entry in entries if self._has_class(*entry)]
        self.names_by_class = group_by_class(labelled)
        bare = {label for _, label in entries} - set(self.names_by_class)
        if bare:
            raise DataError(
                f'{type(self).__name__}: no mask of the lists holds class {min(bare) + 1} '
                f'({self.classes[min(bare)]}); no image shows it.'
            )
        check_class_sizes(self.names_by_class, self.shots, self.classes)
        items = [dict(query=name, class_id=label) for name, label in entries]
        known = set(labelled)
        self.bare = [entry for entry in entries if entry not in known]
        if self.bare:
            items = self._without_bare(items)
        if self.test_mode:
            rng = np.random.RandomState(self.seed)
            for item in items:
                item['supports'] = self._draw(rng, item)
        return items

    def get_data_info(self, idx: int) -> dict:
        """Returns names and files of one episode.

        Returns:
            ``query``, ``supports`` (names), ``query_files``, ``support_files`` (pairs of
            image and label paths; the label path of a query that is only predicted is
            None), ``class_id`` (from 0), ``class_name``, ``sample_idx``.
        """
        info = super().get_data_info(idx)
        if 'supports' not in info:
            info['supports'] = self._draw(np.random, info)
        info['class_name'] = self.classes[info['class_id']]
        image, mask = self.files(info['query'])
        info['query_files'] = (image, None if info.get('bare') else mask)
        info['support_files'] = [self.files(name) for name in info['supports']]
        return info

    def files(self, name: str) -> tuple[str, str]:
        """Returns the paths of an image and of its label map."""
        raise NotImplementedError

    def _without_bare(self, items):
        """Marks the entries whose mask does not show their class; training goes without them."""
        print_log(
            f'{len(self.bare)} of {len(items)} entries have no mask that shows their class, e.g. '
            f'{self.bare[0][0]}: they are '
            + ('predicted, but not scored.' if self.test_mode else 'left out of the training.'),
            'current',
            logging.WARNING,
        )
        bare = set(self.bare)
        for item in items:
            item['bare'] = (item['query'], item['class_id']) in bare
        return items if self.test_mode else [item for item in items if not item['bare']]

    def _has_class(self, name, label):
        """Returns whether the mask of an entry shows its class, which a support needs."""
        path = Path(self.files(name)[1])
        return path.is_file() and bool((read_label_map(path) == label + 1).any())

    def _draw(self, rng, item):
        return draw_supports(
            rng,
            self.names_by_class[item['class_id']],
            item['query'],
            self.shots,
            self.distinct_supports,
        )

    def _list_files(self):
        folds = [f for f in range(self.folds) if (f == self.fold) == (self.split == 'val')]
        if self.list_dir:
            return [Path(self.list_dir) / self.split / f'fold{f}.txt' for f in folds]
        return [PACKED / self.packed_lists / self.split / f'fold{f}.txt.gz' for f in folds]


@DATASETS.register_module()
class ISAID5iDataset(FewShotDataset):
    """iSAID-5i: 256 x 256 patches of iSAID, 15 classes in 3 folds.

    ``tools/dataset_converters/isaid_patches.py`` writes the layout, with ``train`` for training and
    ``val`` for testing::

        data_root/{train,val}/images/P0003_0_256_206_462.png
        data_root/{train,val}/semantic_png/P0003_0_256_206_462_instance_color_RGB.png

    Labels are 8-bit: 0 background, 1 to 15 the classes, 255 ignored.
    """

    METAINFO = dict(
        dataset_name='iSAID-5i',
        classes=(
            'ship',
            'storage tank',
            'baseball diamond',
            'tennis court',
            'basketball court',
            'ground track field',
            'bridge',
            'large vehicle',
            'small vehicle',
            'helicopter',
            'swimming pool',
            'roundabout',
            'soccer ball field',
            'plane',
            'harbor',
        ),
    )
    packed_lists = 'isaid'

    def files(self, name: str) -> tuple[str, str]:
        folder = Path(self.data_root) / ('train' if self.split == 'trn' else 'val')
        return (
            str(folder / 'images' / f'{name}.png'),
            str(folder / 'semantic_png' / f'{name}_instance_color_RGB.png'),
        )


@DATASETS.register_module()
class DLRSD5iDataset(FewShotDataset):
    """DLRSD-5i: the UC Merced images with DLRSD's label maps, 15 classes in 3 folds.

    Layout, the same for every split::

        data_root/UCMerced_LandUse/Images/airplane/airplane00.tif
        data_root/DLRSD/Images/airplane/airplane00.png

    Labels are 8-bit with a palette; values 1 to 15 are the classes used. The published lists for
    training and testing are the same, so most test images of a fold also occur in training with
    other classes.
    """

    METAINFO = dict(
        dataset_name='DLRSD-5i',
        classes=(
            'airplane',
            'bare soil',
            'buildings',
            'cars',
            'chaparral',
            'court',
            'dock',
            'field',
            'grass',
            'mobile home',
            'pavement',
            'sand',
            'sea',
            'ship',
            'tanks',
        ),
    )
    packed_lists = 'dlrsd'

    def files(self, name: str) -> tuple[str, str]:
        root, scene = Path(self.data_root), name[:-2]
        return (
            str(root / 'UCMerced_LandUse' / 'Images' / scene / f'{name}.tif'),
            str(root / 'DLRSD' / 'Images' / scene / f'{name}.png'),
        )


@DATASETS.register_module()
class Pascal5iDataset(FewShotDataset):
    """PASCAL-5i: VOC 2012 with the masks of SBD, 20 classes in 4 folds.

    Layout::

        data_root/JPEGImages/2007_000032.jpg
        data_root/SegmentationClassAug/2007_000032.png

    Source of the lists: Min et al., "Hypercorrelation Squeeze for Few-Shot Segmentation".
    """

    METAINFO = dict(
        dataset_name='PASCAL-5i',
        classes=(
            'aeroplane',
            'bicycle',
            'bird',
            'boat',
            'bottle',
            'bus',
            'car',
            'cat',
            'chair',
            'cow',
            'diningtable',
            'dog',
            'horse',
            'motorbike',
            'person',
            'pottedplant',
            'sheep',
            'sofa',
            'train',
            'tvmonitor',
        ),
    )
    folds = 4
    packed_lists = 'pascal'

    def files(self, name: str) -> tuple[str, str]:
        root = Path(self.data_root)
        return (
            str(root / 'JPEGImages' / f'{name}.jpg'),
            str(root / 'SegmentationClassAug' / f'{name}.png'),
        )
