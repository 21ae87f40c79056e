"""Bitemporal change detection datasets, each in its published layout."""

from __future__ import annotations

import logging
import os.path as osp
from typing import Any

import numpy as np
from mmengine import fileio
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.limits import check_inside
from rs_mm.registry import DATASETS
from rs_mm.tables import read_lines

from .label_tables import check_unique
from .seeding import SeededSampleMixin

_LOSSY = ('.jpg', '.jpeg')
_PICTURES = (*_LOSSY, '.png', '.tif', '.tiff', '.bmp', '.jp2', '.webp')
# Okabe and Ito's colours, which colour-blind readers can distinguish; class 0 is black
_COLOURS = [
    [0, 0, 0],
    [213, 94, 0],
    [86, 180, 233],
    [240, 228, 66],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [0, 114, 178],
]


@DATASETS.register_module()
class ChangeDetectionDataset(SeededSampleMixin, BaseSegDataset):
    """Pairs of images of one place at two dates, with a label of the changes.

    The images of both dates and the label have the same relative name; the label may have another
    suffix. Without ``seg_map_path`` in ``data_prefix`` the pairs have no labels (prediction).

    Args:
        data_prefix: folders ``img_path_from`` (date 1), ``img_path_to`` (date 2) and
            ``seg_map_path`` (label), relative to ``data_root``.
        ann_file: list file with one name per line, with or without the suffix of the
            images; its order is kept. Default: every file with ``img_suffix``, sorted.
        img_suffix: suffix of the images; may be empty.
        seg_map_suffix: suffix of the labels; may be empty.
        format_seg_map: ``to_binary``: grey levels below 128 are *unchanged*, the
            others *changed*. None: the file holds class numbers (for a palette, its indices).
        label_values: values that a label file may hold; other values are an error. ``auto``: (0,
            255) with ``to_binary``, except for JPEG labels, whose values are blurred; (0, ..,
            classes - 1) without ``to_binary``. None: any value. Pixels of value 255 are ignored; if
            label files use 255 for this, name it: (0, 1, 255).
        metainfo: ``classes``, names of the class numbers, and ``palette``, an RGB colour for each,
            to replace those of the dataset; more than two classes need ``format_seg_map=None``.
        **kwargs: arguments of mmseg's ``BaseSegDataset``.

    Attributes:
        left_out: files in the folders that are not used, because they have another suffix or are
            labels without a pair. Upper and lower case of a suffix are equal.

    Raises:
        MissingFileError: a folder or the list file does not exist.
        DataError: the image of the other date or the label is missing, two files have the same
            name, or there is no image in the folders or in the list file.
        ConfigError: settings contradict each other.
    """

    METAINFO = dict(classes=('unchanged', 'changed'), palette=[[0, 0, 0], [255, 255, 255]])
    layout = (
        '{split}/A/*.png, {split}/B/*.png (dates 1 and 2) and {split}/label/*.png, with '
        'split = train, val, test'
    )

    def __init__(
        self,
        img_suffix: str = '.png',
        seg_map_suffix: str = '.png',
        format_seg_map: str | None = 'to_binary',
        label_values: tuple[int] | str | None = 'auto',
        data_prefix: dict | None = None,
        metainfo: dict | None = None,
        **kwargs: Any,
    ) -> None:
        if format_seg_map not in (None, 'to_binary'):
            raise ConfigError(
                f"format_seg_map must be None or 'to_binary', got {format_seg_map!r}."
            )
        data_prefix = dict(data_prefix or {})
        unknown = set(data_prefix) - {'img_path_from', 'img_path_to', 'seg_map_path'}
        if unknown or not {'img_path_from', 'img_path_to'} <= set(data_prefix):
            raise ConfigError(
                'data_prefix must name img_path_from, img_path_to and, where there '
                f'are labels, seg_map_path; got {sorted(data_prefix)}.'
            )
        metainfo = dict(metainfo or {})
        classes = metainfo.get('classes')
        if classes is not None:
            metainfo['palette'] = _palette_of(classes, metainfo.get('palette'), self.METAINFO)
            if format_seg_map == 'to_binary' and len(classes) != 2:
                raise ConfigError(
                    f"format_seg_map='to_binary' makes two classes, and metainfo names "
                    f'{len(classes)}: set format_seg_map=None, for label files that hold class '
                    'numbers.'
                )
        self.format_seg_map = format_seg_map
        self.label_values = label_values
        super().__init__(
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            data_prefix=data_prefix,
            metainfo=metainfo,
            **kwargs,
        )

    @classmethod
    def get_label_map(cls, new_classes: Any = None) -> dict | None:
        """mmseg's method, for a selection of the dataset's classes; other names are new classes."""
        if new_classes is None or not set(new_classes) <= set(cls.METAINFO['classes']):
            return None
        return super().get_label_map(list(new_classes))

    def load_data_list(self) -> list:
        """Returns one dict per pair: ``img_path`` (list of two), ``seg_map_path``, ``pair_name``
        (relative name without suffix, unique within the split), and label settings."""
        dates = [self.data_prefix['img_path_from'], self.data_prefix['img_path_to']]
        labels = self.data_prefix.get('seg_map_path')
        for folder in dates + ([labels] if labels else []):
            self._require_folder(folder)
        self.left_out = []
        if self.ann_file:
            files = self._listed_files(labels)
        else:
            files = self._matching_files(dates, labels)
            if self.left_out:
                print_log(
                    f'{type(self).__name__}: {len(self.left_out)} file(s) take no part, e.g. '
                    f'{self.left_out[0]}; img_suffix is {self.img_suffix!r} and seg_map_suffix '
                    f'{self.seg_map_suffix!r}.',
                    'current',
                    logging.WARNING,
                )
        infos = [self._data_info(name, label, dates, labels) for name, label in files]
        check_unique([info['pair_name'] for info in infos], f'{type(self).__name__}, {dates[0]}')
        return infos

    def _data_info(self, name, files, dates, labels):
        info = dict(
            img_path=[osp.join(folder, file) for folder, file in zip(dates, files)],
            # unlike the stem of the file, unique within the split
            pair_name=name if self.img_suffix else osp.splitext(name)[0],
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            format_seg_map=self.format_seg_map,
            seg_fields=[],
        )
        if labels:
            info.update(seg_map_path=osp.join(labels, files[2]), label_values=self._known_values())
        return info

    def _known_values(self):
        if self.label_values != 'auto':
            return self.label_values
        if self.format_seg_map == 'to_binary':
            return None if self.seg_map_suffix.lower() in _LOSSY else (0, 255)
        return tuple(range(len(self._metainfo['classes'])))

    def _require_folder(self, folder):
        if not fileio.isdir(folder, backend_args=self.backend_args):
            raise MissingFileError(
                f'{type(self).__name__}: the folder {folder} does not exist; put the data there or '
                f'set data_root (now {self.data_root!r}), which should hold {self.layout}.'
            )

    def _listed_files(self, labels):
        """Returns name, files of both dates, and label for every line of the list."""
        if not fileio.isfile(self.ann_file, backend_args=self.backend_args):
            raise MissingFileError(
                f'{type(self).__name__}: the list file {self.ann_file} does not exist.'
            )
        with fileio.get_local_path(self.ann_file, backend_args=self.backend_args) as path:
            lines = read_lines(path, 'list')
        names = [line.strip() for line in lines if line.strip()]
        if not names:
            raise DataError(f'{type(self).__name__}: the list file {self.ann_file} names no image.')
        found = []
        for listed in names:
            check_inside(listed, self.ann_file)
            name = listed
            if self.img_suffix and listed.lower().endswith(self.img_suffix.lower()):
                name = listed[: -len(self.img_suffix)]
            file = listed if name != listed else name + self.img_suffix
            found.append((name, (file, file, name + self.seg_map_suffix)))
        return found

    def _files(self, folder, suffix):
        """Returns name -> file below a folder; the case of the suffix is ignored.

        Images with another suffix are added to ``left_out``.
        """
        found = {}
        for file in fileio.list_dir_or_file(
            folder, list_dir=False, recursive=True, backend_args=self.backend_args
        ):
            if not file.lower().endswith(suffix.lower()):
                if osp.splitext(file)[1].lower() in _PICTURES:
                    self.left_out.append(osp.join(folder, file))
                continue
            name = file[: len(file) - len(suffix)]
            if name in found:
                raise DataError(
                    f'{folder} has two files with the same name, {found[name]} and {file}: '
                    'remove one.'
                )
            found[name] = file
        return found

    def _matching_files(self, dates, labels):
        """Returns name, files of both dates, and label for every name."""
        parts = [self._files(folder, self.img_suffix) for folder in dates]
        if labels:
            parts.append(self._files(labels, self.seg_map_suffix))
        first, second = parts[:2]
        for has, lacks in ((0, 1), (1, 0)):
            names = parts[has].keys() - parts[lacks].keys()
            if names:
                file = parts[has][min(names)]
                raise DataError(
                    f'{osp.join(dates[has], file)} has no partner: '
                    f'{osp.join(dates[lacks], file)} does not exist '
                    f'({len(names)} such file(s)).'
                )
        if not first:
            raise DataError(f'{type(self).__name__}: no file *{self.img_suffix} in {dates[0]}.')
        if labels and (names := first.keys() - parts[2].keys()):
            label = osp.join(labels, min(names) + self.seg_map_suffix)
            raise DataError(
                f'{osp.join(dates[0], first[min(names)])} has no label: {label} does not exist '
                f'({len(names)} such pair(s)).'
            )
        if labels:
            self.left_out += [
                osp.join(labels, parts[2][name]) for name in sorted(parts[2].keys() - first.keys())
            ]
        # sorted like file names: "-" before "."
        return [
            (name, tuple(part[name] for part in parts))
            for name in sorted(first, key=lambda name: name + self.img_suffix)
        ]


def _palette_of(classes, palette, metainfo):
    """Returns a colour for each class: given ones, those of the dataset, or distinct default
    colours."""
    if len(set(classes)) < len(classes):
        raise ConfigError(f'metainfo.classes names a class twice: {", ".join(classes)}.')
    if palette is not None:
        if len(palette) != len(classes):
            raise ConfigError(
                f'metainfo has {len(classes)} classes and {len(palette)} colours in `palette`; '
                'give one for each.'
            )
        return palette
    known = dict(zip(metainfo['classes'], metainfo['palette']))
    if set(classes) <= set(known):
        return [known[name] for name in classes]
    state = np.random.RandomState(0)
    more = state.randint(60, 256, (max(0, len(classes) - len(_COLOURS)), 3)).tolist()
    return [*_COLOURS, *more][: len(classes)]


@DATASETS.register_module()
class LEVIR_CD_Dataset(ChangeDetectionDataset):
    """LEVIR-CD: 637 Google Earth pairs of 1024 x 1024, 0.5 m, building changes.

    Layout: ``{train,val,test}/{A,B,label}/*.png``; labels 0 and 255.
    Source: Chen and Shi, Remote Sensing 12(10), 2020.
    """


@DATASETS.register_module()
class SVCD_Dataset(ChangeDetectionDataset):
    """SVCD (also CDD): 16,000 pairs of 256 x 256 with season changes, 3 cm to 1 m.

    Layout: ``{train,val,test}/{A,B,OUT}/*.jpg``; labels 0 and 255, blurred by JPEG.
    Source: Lebedev et al., ISPRS Archives XLII-2, 2018.
    """

    layout = '{split}/A/*.jpg, {split}/B/*.jpg and {split}/OUT/*.jpg, with split = train, val, test'

    def __init__(
        self, img_suffix: str = '.jpg', seg_map_suffix: str = '.jpg', **kwargs: Any
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)


@DATASETS.register_module()
class S2Looking_Dataset(ChangeDetectionDataset):
    """S2Looking: 5,000 side-looking satellite pairs of 1024 x 1024, building changes.

    Layout as published: ``{train,val,test}/{Image1,Image2,label}/*.png`` (beside them ``label1``
    and ``label2``, new and demolished buildings, in colour), labels 0 and 255. Copies that were cut
    to tiles name the same three folders ``A``, ``B`` and ``OUT``: if a folder of ``data_prefix``
    does not exist, the folder with the other name is used.
    Source: Shen et al., Remote Sensing 13(24), 2021.
    """

    layout = (
        '{split}/Image1/*.png, {split}/Image2/*.png and {split}/label/*.png, or the same as '
        'A, B and OUT, with split = train, val, test'
    )
    _other_names = dict(Image1='A', Image2='B', label='OUT', A='Image1', B='Image2', OUT='label')

    def load_data_list(self) -> list[dict]:
        for key, folder in self.data_prefix.items():
            parent, name = osp.split(folder.rstrip('/'))
            other = osp.join(parent, self._other_names.get(name, name))
            if not fileio.isdir(folder, backend_args=self.backend_args) and fileio.isdir(
                other, backend_args=self.backend_args
            ):
                self.data_prefix[key] = other
        return super().load_data_list()


@DATASETS.register_module()
class DSIFN_Dataset(ChangeDetectionDataset):
    """DSIFN: 3,940 training, 48 test tiles of 512 x 512, six Chinese cities.

    Layout: ``{train,val,test}/{t1,t2}/*.jpg``, ``{train,val}/mask/*.png``, ``test/mask/*.tif``;
    labels 0 and 1. Copies with 0 and 255 exist. With the official setting, *changed* would be
    *ignored* in these copies; here this is an error that asks for ``format_seg_map='to_binary'``.
    Source: Zhang et al., ISPRS Journal 166, 2020.
    """

    layout = (
        '{split}/t1/*.jpg, {split}/t2/*.jpg and {split}/mask/*.png (.tif for test), with '
        'split = train, val, test'
    )

    def __init__(
        self, img_suffix: str = '.jpg', format_seg_map: str | None = None, **kwargs: Any
    ) -> None:
        if format_seg_map is None:
            kwargs.setdefault('label_values', (0, 1))
        super().__init__(img_suffix=img_suffix, format_seg_map=format_seg_map, **kwargs)


@DATASETS.register_module()
class WHU_CD_Dataset(ChangeDetectionDataset):
    """WHU-CD in tiles of 256 x 256: buildings in Christchurch, 2012 and 2016, 0.2 m.

    Layout: ``{A,B,label}/*`` and ``list/{train,val,test}.txt`` with one file name, suffix
    included, per line; labels 0 and 255.
    Source: Ji et al., IEEE TGRS 57(1), 2019.
    """

    layout = 'A/*, B/*, label/* and list/{train,val,test}.txt (one file name per line)'

    def __init__(self, img_suffix: str = '', seg_map_suffix: str = '', **kwargs: Any) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)


@DATASETS.register_module()
class CLCD_Dataset(ChangeDetectionDataset):
    """CLCD: 600 pairs of 512 x 512, 0.5 to 2 m, changes of cropland.

    Layout: ``{train,val,test}/{time1,time2,label}/*.png``; labels 0 and 255.
    Source: Liu et al., IEEE JSTARS 15, 2022.
    """

    layout = (
        '{split}/time1/*.png, {split}/time2/*.png and {split}/label/*.png, with split = '
        'train, val, test'
    )
