"""Exports with smaller numbers: float16, or int8 with or without calibration images."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rs_mm.errors import ConfigError
from rs_mm.exported import open_export
from rs_mm.exported.images import prepare
from rs_mm.exported.model import MANIFEST, ExportedModel
from rs_mm.files import atomic_path, write_json
from rs_mm.rasters import read_pixels, to_uint8

PRECISIONS = ('fp16', 'int8')


def reduce_precision(
    folder: str | Path, precision: str, images: Sequence[str | Path] | None = None
) -> None:
    """Turns the networks of an ONNX export into smaller ones, in place.

    Args:
        folder: written by :func:`rs_mm.apis.export`.
        precision: ``fp16``: weights are stored in float16 and computations use float32; the file is
            half as large. ``int8``: weights in int8. With ``images``, also convolutions and
            activations, with ranges measured on these images (for convolutional networks). Without
            ``images``, only matrix products, with ranges measured at run time (for transformers).
        images: files for calibration; for a change detector date 1 and date 2 in turn.

    Raises:
        ConfigError: the precision is unknown, or a change detector got an odd number of images.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f'precision {precision!r}: choose one of {", ".join(PRECISIONS)}.')
    model = ExportedModel(folder)
    for name, graph in model.info['graphs'].items():
        path = model.folder / graph['file']
        with atomic_path(path) as part:
            if precision == 'fp16':
                _to_float16(path, part)
            elif images and _shows_images(model, name):
                _to_int8_by_images(path, part, list(_feeds(model, name, images)))
            else:
                _to_int8(path, part)
        path.with_suffix('.onnx.data').unlink(missing_ok=True)
    model.info['precision'] = precision
    write_json(model.folder / MANIFEST, model.info)


def _to_float16(path, out):
    """Stores weights in float16; onnxruntime converts them to float32 when it opens the file."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        limit = np.finfo(np.float16).max
        half = np.clip(values, -limit, limit).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f'{name}_float16'))
        casts.append(helper.make_node('Cast', [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, out)


def _to_int8(path, out):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            path, out, weight_type=QuantType.QInt8, op_types_to_quantize=['MatMul', 'Gemm']
        )


def _to_int8_by_images(path, out, feeds):
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rest = iter(feeds)

        def get_next(self):
            return next(self.rest, None)

    prepared = out.with_suffix('.prepared.onnx')
    try:
        with _quiet():
            quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared), str(out), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                op_types_to_quantize=['Conv', 'MatMul', 'Gemm'],
            )  # fmt: skip
    finally:
        prepared.unlink(missing_ok=True)


def _shows_images(model, name):
    """Returns whether a network takes single images, unlike a text tower or the comparison with
    supports."""
    return model.task in ('change', 'embedding') or name in ('image',)


def _feeds(model, name, images) -> Iterator[dict[str, np.ndarray]]:
    """Yields the network's inputs for each image, or each pair."""
    if model.task != 'change':
        key = list(model.info['graphs'][name]['inputs'])[0]
        for image in images:
            yield {key: prepare(image, model.info['steps'])[None]}
        return
    if len(images) % 2:
        raise ConfigError(
            'a change detector is calibrated with pairs: give date 1 and date 2 in turn.'
        )
    runner = open_export(model.folder)
    height, width = runner.tile
    for before, after in zip(images[::2], images[1::2]):
        dates = [to_uint8(read_pixels(path).array[..., :3]) for path in (before, after)]
        pair = np.concatenate(
            [(date.transpose(2, 0, 1) - runner.mean) / runner.std for date in dates]
        ).astype(np.float32)
        room = [(0, 0), (0, max(0, height - pair.shape[1])), (0, max(0, width - pair.shape[2]))]
        yield dict(pair=np.pad(pair, room)[None, :, :height, :width])


class _quiet:
    """Hides onnxruntime's advice to prepare the model, because it is prepared."""

    def __enter__(self):
        self.level = logging.getLogger().level
        logging.getLogger().setLevel(logging.ERROR)

    def __exit__(self, *exception):
        logging.getLogger().setLevel(self.level)
