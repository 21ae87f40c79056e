"""Checks every file of a config's datasets, for tools/analysis_tools/check_dataset.py."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.registry import init_default_scope
from prettytable import PrettyTable
from tqdm import tqdm

from rs_mm.analysis.pair_facts import add_facts, pair_facts
from rs_mm.datasets.label_maps import IGNORE, read_label_map
from rs_mm.errors import RSMMError
from rs_mm.launch.config import load_config
from rs_mm.registry import DATASETS, TRANSFORMS

_SHOWN = 20
_LOADING = ('MultiImgLoadImageFromFile', 'MultiImgLoadTiff', 'MultiImgLoadAnnotations')


def check_config(
    config: str | Path,
    splits: Sequence[str] = ('train', 'val', 'test'),
    num_workers: int = 4,
    options: dict | list[str] | None = None,
) -> dict:
    """Reads every sample of the splits and collects problems.

    Change-detection datasets are read file by file, without augmentation. Every sample of
    another dataset is passed through the config's pipeline.

    Args:
        config: config file.
        splits: some of ``train``, ``val``, ``test``.
        num_workers: reading processes.
        options: overrides of the config.

    Returns:
        Per split a dict of ``samples`` (number), ``problems`` (list of sentences, each with
        its file; training images in another split are one), ``notes`` (list of sentences),
        ``sizes`` (``HxW`` -> number of samples) and ``classes`` (class -> ``count`` of pixels, or
        of images for labels of images, and ``samples`` that have it). All values are plain numbers
        and strings.
    """
    cfg = load_config(config, options)
    init_default_scope(cfg.get('default_scope', 'rs_mm'))
    report, images = {}, {}
    for split in splits:
        if cfg.get(f'{split}_dataloader') is not None:
            report[split] = dict(samples=0, problems=[], notes=[], sizes={}, classes={})
            dataset = _check_split(
                cfg[f'{split}_dataloader'].dataset, split, num_workers, report[split]
            )
            images[split] = _images(dataset)
    for split in images.keys() - {'train'}:
        _compare_with_training(report[split], images[split], images.get('train', {}), split)
    return report


def format_report(report: dict) -> str:
    """Returns the report of :func:`check_config` as text."""
    lines = []
    for split, found in report.items():
        sizes = ', '.join(f'{size} ({n})' for size, n in sorted(found['sizes'].items())[:6])
        lines.append(f'{split}: {found["samples"]} samples' + (f' of {sizes}' if sizes else ''))
        if found['classes']:
            table = PrettyTable(['class', 'count', 'share', 'samples with it'])
            total = sum(c['count'] for c in found['classes'].values()) or 1
            for name, c in found['classes'].items():
                table.add_row([name, c['count'], f'{c["count"] / total:.2%}', c['samples']])
            lines.append(table.get_string())
        lines += [f'  NOTE: {note}' for note in found['notes']]
        problems = found['problems']
        lines += [f'  PROBLEM: {problem}' for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            lines.append(f'  ... and {len(problems) - _SHOWN} more (--out FILE lists all)')
        lines.append(f'  {len(problems)} problem(s)')
    return '\n'.join(lines)


def _images(dataset):
    """Returns the files of every image -> whether it was chosen for one of its classes, as in
    episodes."""
    if not hasattr(dataset, 'get_data_info'):
        return {}
    found = {}
    for info in map(dataset.get_data_info, range(len(dataset))):
        files = info.get('img_path', info.get('query_files'))
        if files is not None:
            found[files if isinstance(files, str) else tuple(map(str, files))] = 'class_id' in info
    return found


def _compare_with_training(report, images, trained, split):
    both = [files for files in images if files in trained]
    if both:
        first = both[0] if isinstance(both[0], str) else both[0][0]
        said = f'{len(both)} of the {len(images)} {split} images are training images'
        if images[both[0]]:
            report['notes'].append(f'{said}, e.g. {first}; they are asked for other classes.')
        else:
            report['problems'].append(
                f'{said}, e.g. {first}: the figures of this split would not '
                'tell how the model does on new images.'
            )


def _check_split(dataset_cfg, split, num_workers, report):
    """Fills in the report; returns the dataset, or None if it cannot be built."""
    try:
        dataset = DATASETS.build(dataset_cfg)
    except RSMMError as error:
        report['problems'].append(str(error))
        return None
    classes = list(getattr(dataset, 'metainfo', {}).get('classes') or [])
    counts = np.zeros((2, 256), np.int64)  # pixels of the class, samples with it
    report['samples'] = len(dataset)
    report['problems'] += [
        f'{file} takes no part: another suffix than the others, or a label without a pair.'
        for file in getattr(dataset, 'left_out', ())
    ]
    report['problems'] += [_says_nothing(dataset, *entry) for entry in getattr(dataset, 'bare', ())]
    pairs = []
    for problem, size, histogram, facts in _read_all(dataset, split, num_workers):
        if problem is not None:
            report['problems'].append(problem)
        if size is not None:
            key = 'x'.join(map(str, size))
            report['sizes'][key] = report['sizes'].get(key, 0) + 1
        if histogram is not None:
            counts += np.stack([histogram, histogram > 0])
        if facts is not None:
            pairs.append(facts)
    add_facts(pairs, split, report)
    _compare_with_crop(dataset, split, report)
    if counts.any():
        names = dict(enumerate(classes)) | {255: 'ignored'}
        shown = [i for i in range(256) if i < len(classes) or counts[0, i]]
        report['classes'] = {
            names.get(i, f'unknown class {i}'): dict(
                count=int(counts[0, i]), samples=int(counts[1, i])
            )
            for i in shown
        }
    if counts.any() and _loading_steps(dataset):
        report['problems'] += [
            f'no label of the {split} split holds the class {name!r}: a model cannot learn it, or '
            'its score is NaN.'
            for i, name in enumerate(classes)
            if not counts[0, i]
        ]
    return dataset


def _compare_with_crop(dataset, split, report):
    """Reports how many samples are smaller than the crop of the pipeline."""
    sizes = {tuple(map(int, key.split('x'))): n for key, n in report['sizes'].items()}
    for step in getattr(getattr(dataset, 'pipeline', None), 'transforms', []):
        name = type(step).__name__
        if 'Resize' in name or 'Pad' in name:
            return  # from here on the sizes differ from the files
        crop = getattr(step, 'crop_size', None)
        if 'Crop' in name and isinstance(crop, (tuple, list)) and sizes:
            small = {size: n for size, n in sizes.items() if size[0] < crop[0] or size[1] < crop[1]}
            count, total = sum(small.values()), sum(sizes.values())
            if not count:
                return
            largest = max(sizes)
            said = (
                f'{count} of the {total} {split} samples are smaller than the crop of '
                f'{crop[0]} x {crop[1]} that {name} takes'
            )
            if count == total:
                report['problems'].append(
                    f'no sample fits: {said} (the largest is {largest[0]} x {largest[1]}); set a '
                    'smaller crop_size, or put MultiImgPad or MultiImgResize before the crop.'
                )
            else:
                report['notes'].append(f'{said}.')
            return


def _read_all(dataset, split, num_workers):
    _Reader.dataset = dataset
    _Reader.steps = _loading_steps(dataset)
    progress = dict(total=len(dataset), desc=split, mininterval=0.5)
    if num_workers <= 1 or 'fork' not in multiprocessing.get_all_start_methods():
        yield from tqdm(map(_Reader.read, range(len(dataset))), **progress)
        return
    # forked workers share the dataset and its pipeline without a copy
    with multiprocessing.get_context('fork').Pool(num_workers) as pool:
        yield from tqdm(pool.imap(_Reader.read, range(len(dataset)), chunksize=4), **progress)


def _loading_steps(dataset):
    """Returns the loading transforms of a change detection pipeline; None for other datasets."""
    steps = [
        step
        for step in getattr(getattr(dataset, 'pipeline', None), 'transforms', [])
        if type(step).__name__ in _LOADING
    ]
    # labels last, so their size is compared with the images on disk
    steps.sort(key=lambda step: type(step).__name__ == 'MultiImgLoadAnnotations')
    if steps and type(steps[0]).__name__ == 'MultiImgLoadAnnotations':
        steps.insert(0, TRANSFORMS.build(dict(type='rs_mm.MultiImgLoadImageFromFile')))
    return steps or None


class _Reader:
    """The readers of a worker process, set before the processes fork."""

    dataset = steps = None

    @classmethod
    def read(cls, index):
        """Returns (problem, (H, W), pixels per label value, facts of a pair), each may be None."""
        try:
            if cls.steps is None:
                return cls._read_through_pipeline(index)
            results = cls.dataset.get_data_info(index)
            for step in cls.steps:
                results = step(results)
            label = results.get('gt_seg_map')
            return None, results['ori_shape'], _histogram(label), pair_facts(results)
        except RSMMError as error:
            return str(error), None, None, None
        except Exception as error:  # any error from reading a sample is a finding
            return f'sample {index}: {type(error).__name__}: {error}', None, None, None

    @classmethod
    def _read_through_pipeline(cls, index):
        item = cls.dataset[index]
        inputs, sample = item.get('inputs'), item.get('data_samples')
        if isinstance(inputs, dict):
            inputs = inputs.get('query')
        shape = getattr(inputs, 'shape', None)
        size = None if shape is None else tuple(shape[-2:])
        return _too_small(sample, cls.dataset), size, _label_counts(sample), None


def _too_small(sample, dataset):
    """Returns the problem of a mask of an episode that is empty after resizing."""
    if sample is None or 'gt_mask' not in sample or bool(sample.gt_mask.any()):
        return None
    mask, number = dataset.files(sample.query_name)[1], sample.class_id + 1
    if not bool((read_label_map(mask) == number).any()):  # entry of a published list
        return _says_nothing(dataset, sample.query_name, sample.class_id)
    size = ' x '.join(map(str, sample.gt_mask.shape[-2:]))
    return (
        f'{mask}: class {number} ({sample.class_name}) is so small in it that nothing of it is '
        f'left at {size} pixels.'
    )


def _says_nothing(dataset, name, class_id):
    """Returns the problem of an entry whose mask does not show its class."""
    image, mask = dataset.files(name)
    what = f'class {class_id + 1} ({dataset.classes[class_id]})'
    if not Path(mask).is_file():
        return f'{image} is listed for {what} and has no mask.'
    ignored = bool((read_label_map(mask) == IGNORE).all())
    said = 'is ignored throughout' if ignored else f'holds no pixel of {what}'
    return f'{mask} {said}, for which its list names it.'


def _label_counts(sample):
    """Counts pixels per class of a segmentation, or 1 for each class of an image."""
    if 'gt_sem_seg' in sample:
        return _histogram(sample.gt_sem_seg.data.numpy())
    if 'gt_label' in sample:
        return _histogram(np.flatnonzero(sample.gt_label.numpy()))
    if 'class_id' in sample:
        return _histogram(np.array([sample.class_id]))
    return None


def _histogram(label):
    return None if label is None else np.bincount(label.ravel(), minlength=256)[:256]
