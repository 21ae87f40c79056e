"""Bitemporal change-detection datasets, each in the layout it is published in."""

from __future__ import annotations

import os.path as osp
from typing import Any

import mmengine
from mmengine import fileio
from mmseg.datasets import BaseSegDataset

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.registry import DATASETS

from .seeding import SeededSampleMixin

_LOSSY = ('.jpg', '.jpeg')


@DATASETS.register_module()
class ChangeDetectionDataset(SeededSampleMixin, BaseSegDataset):
    """Pairs of images of one place at two dates, and a label of what changed in between.

    Images of the two dates have the same relative name; the label has it too, with its own
    suffix. Without ``seg_map_path`` in ``data_prefix`` the pairs have no labels (prediction).

    Args:
        data_prefix: folders ``img_path_from`` (date 1), ``img_path_to`` (date 2) and
            ``seg_map_path`` (label), relative to ``data_root``.
        ann_file: list file with one name per line, with or without the suffix of the
            images; its order is kept. Default: every file with ``img_suffix``, sorted.
        img_suffix: suffix of the images; may be empty.
        seg_map_suffix: suffix of the labels; may be empty.
        format_seg_map: ``to_binary``: grey levels below 128 are *unchanged*, the
            others *changed*. None: the file holds class numbers (of a palette: its indices).
        label_values: values a label file may hold; others are an
            error. ``auto``: (0, 255) with ``to_binary``, unless labels are stored as JPEG, whose
            levels blur; (0, .., classes - 1) without. None: anything. 255 is ignored: name it
            where label files hold it as that, (0, 1, 255).
        **kwargs: arguments of mmseg's ``BaseSegDataset``.

    Raises:
        MissingFileError: a folder or the list file does not exist.
        DataError: an image of one date lacks its partner or its label, or there is no image
            (in the folders, or in the list file).
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
        self.format_seg_map = format_seg_map
        self.label_values = label_values
        super().__init__(
            img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, data_prefix=data_prefix, **kwargs
        )

    def load_data_list(self) -> list:
        """One dict per pair: ``img_path`` (list of two), ``seg_map_path``, ``pair_name`` (relative
        name without suffix, ``/`` as ``_``), and label settings."""
        dates = [self.data_prefix['img_path_from'], self.data_prefix['img_path_to']]
        labels = self.data_prefix.get('seg_map_path')
        for folder in dates + ([labels] if labels else []):
            self._require_folder(folder)
        listed = bool(self.ann_file)
        names = self._listed_names() if listed else self._matching_names(dates)
        present = self._label_names(labels) if labels and not listed else None
        return [self._data_info(name, dates, labels, present) for name in names]

    def _data_info(self, name, dates, labels, present):
        info = dict(
            img_path=[osp.join(folder, name + self.img_suffix) for folder in dates],
            # unlike the stem of the file, unique within the split
            pair_name=(name if self.img_suffix else osp.splitext(name)[0]).replace('/', '_'),
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            format_seg_map=self.format_seg_map,
            seg_fields=[],
        )
        if labels:
            label = name + self.seg_map_suffix
            if present is not None and label not in present:
                raise DataError(
                    f'{info["img_path"][0]} has no label: {osp.join(labels, label)} does not exist.'
                )
            info.update(seg_map_path=osp.join(labels, label), label_values=self._known_values())
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

    def _listed_names(self):
        if not fileio.isfile(self.ann_file, backend_args=self.backend_args):
            raise MissingFileError(
                f'{type(self).__name__}: the list file {self.ann_file} does not exist.'
            )
        lines = mmengine.list_from_file(self.ann_file, backend_args=self.backend_args)
        names = [line.strip() for line in lines if line.strip()]
        if not names:
            raise DataError(f'{type(self).__name__}: the list file {self.ann_file} names no image.')
        suffix = self.img_suffix
        return [n[: -len(suffix)] if suffix and n.endswith(suffix) else n for n in names]

    def _names(self, folder, suffix):
        files = fileio.list_dir_or_file(
            folder,
            list_dir=False,
            suffix=suffix or None,
            recursive=True,
            backend_args=self.backend_args,
        )
        return {file[: len(file) - len(suffix)] for file in files}

    def _label_names(self, folder):
        suffix = self.seg_map_suffix
        return {name + suffix for name in self._names(folder, suffix)}

    def _matching_names(self, dates):
        first, second = (self._names(folder, self.img_suffix) for folder in dates)
        for has, lacks, names in ((0, 1, first - second), (1, 0, second - first)):
            if names:
                name = min(names) + self.img_suffix
                raise DataError(
                    f'{osp.join(dates[has], name)} has no partner: '
                    f'{osp.join(dates[lacks], name)} does not exist '
                    f'({len(names)} such file(s)).'
                )
        if not first:
            raise DataError(f'{type(self).__name__}: no file *{self.img_suffix} in {dates[0]}.')
        return sorted(first, key=lambda name: name + self.img_suffix)  # by file name: - before .


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
    to tiles name the same three folders ``A``, ``B`` and ``OUT``: where a folder of ``data_prefix``
    does not exist, the one of the other naming is taken.
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
    labels 0 and 1. Copies with 0 and 255 exist: there the official setting would take *changed* for
    *ignored*; here it is an error that asks for ``format_seg_map='to_binary'``.
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
