"""Export of a trained model as networks and a description that run without torch."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import platform
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log

from rs_mm.apis.exporting.graphs import Graph, graphs_of, task_of
from rs_mm.apis.exporting.steps import add_band_statistics, steps_of
from rs_mm.datasets.wrapped_datasets import tested_pipeline
from rs_mm.errors import ConfigError
from rs_mm.exported.model import FORMAT, MANIFEST
from rs_mm.files import atomic_folder, write_json
from rs_mm.launch.model_loading import LoadedModel, load_model
from rs_mm.version import __version__

FORMATS = ('onnx', 'torch')
_DEFAULT_TILE = (512, 512)


def export(
    config: Any,
    checkpoint: str | Path | None = None,
    out: str | Path = 'exported',
    format: str = 'onnx',
    shape: Sequence[int] | None = None,
    batch: int | None = None,
    supports: Sequence[tuple[Any, Any]] = (),
    options: dict | list[str] | None = None,
) -> dict[str, Any]:
    """Exports the model of a config.

    Args:
        config: name or path of a config file, or a config.
        checkpoint: its weights. Default: the initial weights of the config.
        out: folder to write into: the networks and ``model.json``.
        format: ``onnx`` (onnxruntime, QGIS) or ``torch`` (``torch.export.load``).
        shape: height and width (one number: both) of an image, or of a tile of a change detector.
            Default: the size in the test pipeline or ``test_cfg.crop_size`` of the config.
        batch: 1 fixes the batch at one. Default: any batch.
        supports: for a few-shot segmenter, pairs of an image and a mask to store in the export.
        options: overrides of the config, as for the tools.

    Returns:
        The content of ``model.json``, with the largest difference between network and model as
        ``max_difference`` of every graph.

    Raises:
        MissingFileError, CheckpointError: the config or the checkpoint is missing or does not fit.
        ConfigError: the model or its pipeline cannot be exported, or a package is missing.
    """
    if format not in FORMATS:
        raise ConfigError(f'format {format!r}: choose one of {", ".join(FORMATS)}.')
    if batch is not None and batch < 1:
        raise ConfigError(f'batch is {batch}; give 1 to fix it, or leave it out.')
    if format == 'onnx':
        _check_packages()
    loaded = load_model(config, checkpoint, 'cpu', options, asked_by='export')
    for weight in loaded.model.parameters():
        weight.requires_grad_(False)
    task = task_of(loaded.model)
    if supports and task != 'few_shot':
        raise ConfigError(f'supports are for a few-shot segmenter, and this is one of {task}.')
    info = _about(loaded, task, shape, checkpoint)
    graphs = graphs_of(loaded.model, tuple(info.pop('example_size')), 1 if batch == 1 else 2)
    with atomic_folder(out, last=MANIFEST) as folder:
        info['graphs'] = {graph.name: _write(graph, folder, format) for graph in graphs}
        info.update(format_version=FORMAT, format=format, batch=1 if batch == 1 else None)
        info.update(_identity(loaded, checkpoint))
        _write_arrays(loaded, info, folder, supports, graphs, checkpoint)
        if format == 'onnx':
            _add_metadata(folder, info)
        write_json(folder / MANIFEST, info)
    return info


def _check_packages():
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f'an export needs {error.name}: pip install "rs_mm[export]".') from error


def _about(loaded: LoadedModel, task, shape, checkpoint):
    """Returns the description for a runner: task, sizes, classes, normalisation."""
    model, cfg = loaded.model, loaded.cfg
    given = None if shape is None else _sides(shape)
    if task == 'change':
        return _about_change(loaded, given)
    pipeline = add_band_statistics(tested_pipeline(cfg) or [])
    steps = steps_of(pipeline, model.data_preprocessor)
    size = given or _size_of(steps)
    if given:
        _set_size(steps, given)
    info = dict(task=task, model=type(model).__name__, size=list(size), steps=steps)
    info['example_size'] = size
    if task == 'few_shot':
        if model.post_processor is not None:
            print_log(
                'the post-processor of the config is not exported', 'current',
                level=logging.WARNING,
            )  # fmt: skip
        info.update(vote_threshold=model.vote_threshold, classes=['background', 'object'])
    if task == 'embedding':
        info.update(_labels(loaded, checkpoint))
    return info


def _about_change(loaded, given):
    model = loaded.model
    preprocessor, test_cfg = model.data_preprocessor, dict(model.test_cfg or {})
    tile = given or tuple(test_cfg.get('crop_size') or _size_in(loaded.cfg) or _DEFAULT_TILE)
    stride = test_cfg.get('stride') or tile
    if given:  # the windows of the config have another size; the same share of them overlaps
        crop = test_cfg.get('crop_size') or tile
        stride = [max(1, s * t // c) for s, t, c in zip(stride, tile, crop)]
    count = 3 if preprocessor.channel_conversion else model.backbone_inchannels
    mean, std = [0.0] * count, [1.0] * count
    if preprocessor._enable_normalize:
        mean, std = (getattr(preprocessor, k).flatten().tolist()[:count] for k in ('mean', 'std'))
    padding = dict(preprocessor.test_cfg or {})
    classes = (loaded.meta.get('dataset_meta') or {}).get('classes') or ('unchanged', 'changed')
    return dict(
        task='change',
        model=type(model).__name__,
        classes=list(classes),
        bands=['red', 'green', 'blue'] if count == 3 else list(range(count)),
        value_range=[0, 255],
        mean=mean,
        std=std,
        tile=list(tile),
        stride=list(stride),
        divisor=int(padding.get('size_divisor') or 1),
        example_size=tile,
    )


def _labels(loaded, checkpoint):
    """Returns the source of labels: the classifier, a memory, or none."""
    from rs_mm.apis.labels.predictor import LabelPredictor

    try:
        predictor = LabelPredictor(loaded.cfg, checkpoint, 'cpu')
    except ConfigError:
        return {}
    thresholds = predictor.thresholds
    return dict(
        classes=list(predictor.classes),
        labels=dict(
            method=predictor.method,
            k=predictor.k,
            thresholds=None if thresholds is None else [float(value) for value in thresholds],
        ),
    )


def _write(graph: Graph, folder, format):
    """Exports one network, compares it with the model, and describes it."""
    program = _trace_as_free_as_possible(graph)
    path = folder / f'{graph.name}.{"onnx" if format == "onnx" else "pt2"}'
    if format == 'onnx':
        _save_onnx(program, graph, path)
    else:
        torch.export.save(program, path)
    described = dict(
        file=path.name,
        inputs={
            name: [
                graph.free.get(name, {}).get(axis, length) for axis, length in enumerate(x.shape)
            ]
            for name, x in graph.inputs.items()
        },
        outputs=graph.outputs,
        max_difference=_difference(graph, path, format),
    )
    print_log(
        f'{path}: largest difference from the model {described["max_difference"]:.2g}', 'current'
    )
    return described


def _trace_as_free_as_possible(graph):
    """Exports with a free size; networks with position embeddings have one size and raise an
    error."""
    sizes = ('height', 'width')
    if not any(label in sizes for axes in graph.free.values() for label in axes.values()):
        return _trace(graph)
    try:
        return _trace(graph)
    except Exception as error:  # torch.export raises errors of several modules
        print_log(
            f'{graph.name}: the size of images is fixed ({str(error).splitlines()[0]})', 'current'
        )
        graph.free = {
            name: {axis: label for axis, label in axes.items() if label not in sizes}
            for name, axes in graph.free.items()
        }
        return _trace(graph)


def _trace(graph):
    free = {
        name: {axis: _axis(label) for axis, label in axes.items()}
        for name, axes in graph.free.items()
        if axes
    }
    shapes = [free.get(name) for name in graph.inputs]
    if any(name.startswith('support_') for name in graph.inputs):
        shapes = [shapes[0], tuple(shapes[1:])]  # the network takes them as *support
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return torch.export.export(
            graph.module, tuple(graph.inputs.values()), dynamic_shapes=tuple(shapes), strict=False
        )


def _axis(label):
    # a pooling layer tests whether the size is odd, which a named axis would forbid
    if label in ('height', 'width'):
        return torch.export.Dim.DYNAMIC
    return torch.export.Dim(label, min=1, max=8192)


def _save_onnx(program, graph, path):
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        found = torch.onnx.export(
            program, (), dynamo=True, input_names=list(graph.inputs),
            output_names=graph.outputs, verbose=False,
        )  # fmt: skip
        found.save(path)


def _difference(graph, path, format):
    """Returns the largest difference of any output, on images that were not used for tracing."""
    from rs_mm.exported.model import open_session

    generator = torch.Generator().manual_seed(0)
    inputs = {
        name: torch.randn(x.shape, generator=generator) if x.dtype == torch.float32 else x
        for name, x in graph.inputs.items()
    }
    if 'mask' in inputs:
        inputs['mask'] = (inputs['mask'] > 0).float()
    for name in inputs:  # vectors of masked maps are not noise
        if name.startswith('support_'):
            inputs[name] = graph.inputs[name]
    with torch.no_grad():
        expected = graph.module(*inputs.values())
        expected = expected if isinstance(expected, tuple) else (expected,)
        if format == 'onnx':
            feed = {name: value.numpy() for name, value in inputs.items()}
            found = [torch.from_numpy(x) for x in open_session(path).run(None, feed)]
        else:
            found = torch.export.load(path).module()(*inputs.values())
            found = found if isinstance(found, tuple) else (found,)
    return max(float((a - b).abs().max()) for a, b in zip(found, expected))


def _write_arrays(loaded, info, folder, supports, graphs, checkpoint):
    """Writes the further files for a runner: memory, supports, vocabulary."""
    if (info.get('labels') or {}).get('method') == 'knn':
        from rs_mm.models.memories import FeatureBank

        memory = next(part for part in loaded.model.modules() if isinstance(part, FeatureBank))
        np.save(folder / 'memory.npy', memory.features.numpy())
        np.save(folder / 'memory_labels.npy', memory.labels.numpy())
    if info['task'] == 'retrieval':
        info['tokenizer'] = _copy_vocabulary(loaded.model, folder)
    if supports:
        info['supports'] = _write_supports(loaded, folder, supports, graphs, checkpoint)


def _copy_vocabulary(model, folder):
    tokenizer = model.tokenizer
    if type(tokenizer).__name__ != 'SimpleTokenizer':
        print_log(
            f'{type(tokenizer).__name__} of this tower has no counterpart outside torch: the '
            'exported model searches by image alone', 'current', level=logging.WARNING,
        )  # fmt: skip
        return None
    from open_clip.tokenizer import default_bpe

    shutil.copyfile(default_bpe(), folder / 'vocabulary.txt.gz')
    return dict(file='vocabulary.txt.gz', length=tokenizer.context_length)


def _write_supports(loaded, folder, supports, graphs, checkpoint):
    from rs_mm.apis.few_shot.segmenter import FewShotSegmenter

    segmenter = FewShotSegmenter(loaded.cfg, checkpoint, 'cpu').fit(*map(list, zip(*supports)))
    kept = segmenter.fitted()
    images = loaded.model.data_preprocessor(dict(inputs=dict(support=[kept.images])))
    graph = next(graph for graph in graphs if graph.name == 'support')
    with torch.no_grad():
        vectors = graph.module(images['inputs']['support'][0], kept.masks.float())
    for name, value in zip(graph.outputs, vectors):
        np.save(folder / f'{name}.npy', value.numpy())
    return list(kept.names)


def _identity(loaded, checkpoint):
    """Returns config, weights and versions of the export."""
    path = checkpoint or loaded.cfg.get('load_from')
    digest = None
    if path and Path(path).is_file():
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    text = loaded.cfg.pretty_text.encode()
    versions = dict(rs_mm=__version__, torch=torch.__version__, python=platform.python_version())
    for name in ('onnx', 'onnxscript', 'onnxruntime'):
        try:
            versions[name] = __import__(name).__version__
        except ImportError:
            continue
    return dict(
        config=loaded.name,
        config_sha256=hashlib.sha256(text).hexdigest(),
        checkpoint=None if path is None else Path(path).name,
        checkpoint_sha256=digest,
        versions=versions,
    )


def _add_metadata(folder, info):
    """Returns the keys of a network of masks that QGIS's plugin Deepness reads, in JSON."""
    if info['task'] != 'change':
        return
    import onnx

    overlap = 100 * (1 - info['stride'][0] / info['tile'][0])
    keys = dict(
        model_type='Segmentor',
        class_names=dict(enumerate(info['classes'])),
        tiles_size=info['tile'][0],
        tiles_overlap=round(overlap),
        standardization_mean=[value / 255 for value in info['mean']] * 2,
        standardization_std=[value / 255 for value in info['std']] * 2,
        seg_thresh=0.5,
        seg_small_segment=0,
    )
    path = folder / info['graphs']['model']['file']
    model = onnx.load(path, load_external_data=False)
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in keys.items()})
    onnx.save(model, path)


def _sides(shape):
    sides = [shape] if isinstance(shape, int) else list(shape)
    if len(sides) not in (1, 2) or not all(isinstance(s, int) and s > 0 for s in sides):
        raise ConfigError(f'shape {shape}: give one or two positive numbers, height and width.')
    return (sides[0], sides[-1])


def _size_of(steps):
    """Returns the height and width that the pipeline resizes to."""
    for step in steps[::-1]:
        if step['kind'] == 'resize':
            return tuple(step.get('crop') or step['size'])
    return (256, 256)


def _set_size(steps, size):
    resizes = [step for step in steps if step['kind'] == 'resize']
    if not resizes:
        steps.insert(1, dict(kind='resize', size=list(size), kernel='area', by='opencv'))
    for step in resizes:
        if 'shortest' in step:
            step.update(shortest=min(size), crop=list(size))
        else:
            step['size'] = list(size)


def _size_in(cfg):
    """Returns the height and width that a change detector's test pipeline resizes to."""
    for step in tested_pipeline(cfg) or []:
        if str(step['type']).endswith('MultiImgResize') and step.get('scale'):
            return tuple(math.ceil(side) for side in step['scale'])[::-1]
    return None
