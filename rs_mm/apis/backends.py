"""Back ends for the network of a trained model: torch, torch in bfloat16, or onnxruntime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from rs_mm.apis.exporting.graphs import task_of
from rs_mm.errors import ConfigError
from rs_mm.exported.model import MANIFEST, ExportedModel
from rs_mm.launch.model_loading import LoadedModel
from rs_mm.models.heads import HeadOutput
from rs_mm.models.heads.self_cross_correlation import CorrelationLogits
from rs_mm.models.utils.model_identity import model_identity
from rs_mm.unwrap import unwrap

BACKENDS = ('torch', 'bfloat16', 'onnx')
_KEPT = Path('work_dirs/exported')


def use_backend(loaded: LoadedModel, backend: str | Path = 'torch') -> None:
    """Replaces torch in float32 by another back end for the network of a model, in place.

    Args:
        loaded: the model in evaluation mode and its config.
        backend: ``torch``; ``bfloat16``: torch with products in bfloat16, if the processor or the
            GPU has it; ``onnx``: onnxruntime on the CPU, from an export that is made at the first
            use (minutes for a change detector) and kept in ``work_dirs/exported``; or the folder of
            an export, for example in int8.

    Raises:
        ConfigError: the back end does not exist, or does not fit the model.
    """
    model = unwrap(loaded.model)
    if str(backend) == 'torch':
        return
    _keep_identity(model)
    if str(backend) == 'bfloat16':
        _name_in_identity(model, 'bfloat16')
        _patch(model, lambda function: _in_bfloat16(function, loaded.device))
        return
    if str(backend) == 'onnx':
        folder = _exported(loaded, model)
    elif (Path(backend) / MANIFEST).is_file():
        folder = Path(backend)
    else:
        raise ConfigError(
            f'backend {str(backend)!r}: choose one of {", ".join(BACKENDS)}, or the folder of an '
            'export by tools/export.py.'
        )
    exported = ExportedModel(folder, torch.get_num_threads())
    if reduced := exported.info.get('precision'):
        _name_in_identity(model, f'onnx {reduced}')
    if exported.task != task_of(model):
        raise ConfigError(
            f'{folder} holds a model of the task {exported.task}, and this one is of '
            f'{task_of(model)}.'
        )
    _ONNX[exported.task](model, exported)


def _keep_identity(model):
    """What a model says of itself stays what it was: parts of it are about to be replaced."""
    if hasattr(model, 'identity'):
        identity = model.identity()
        model.identity = lambda: dict(identity)


def _name_in_identity(model, computed_by):
    """Vectors with smaller numbers do not go into an archive of others."""
    if hasattr(model, 'identity'):
        identity = {**model.identity(), 'computed_by': computed_by}
        model.identity = lambda: dict(identity)


def _exported(loaded, model):
    """Returns the folder of the model's export, which is made if it is missing."""
    from rs_mm.apis.exporting.export_model import export

    identity = model_identity([model])['weights'][:16]
    folder = _KEPT / f'{loaded.name}-{identity}'
    if not (folder / MANIFEST).is_file():
        print_log(f'{folder}: exported once for onnxruntime, which takes a while', 'current')
        with tempfile.TemporaryDirectory() as scratch:
            weights = Path(scratch) / 'weights.pth'
            torch.save(dict(state_dict=model.state_dict(), meta=loaded.meta), weights)
            free = loaded.cfg.get('training_free')
            export(loaded.cfg, None if free else weights, folder)
    return folder


def _in_bfloat16(function: Callable, device: str) -> Callable:
    def run(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            return _float(function(*args, **kwargs))

    return run


def _float(found):
    """Converts results in any container to float32."""
    if isinstance(found, Tensor):
        return found.float() if found.is_floating_point() else found
    if isinstance(found, (HeadOutput, CorrelationLogits)):
        return type(found)(*map(_float, found))
    if isinstance(found, (list, tuple)):
        return type(found)(map(_float, found))
    return found


def _patch(model, wrap):
    """Wraps the function of a model that computes its network."""
    task = task_of(model)
    if task == 'change':
        model.encode_decode = wrap(model.encode_decode)
    elif task == 'few_shot':
        model.segment, model.episode_logits = map(wrap, (model.segment, model.episode_logits))
    elif task == 'retrieval':
        model.clip.encode_image = wrap(model.clip.encode_image)
    else:
        model.head = _Called(wrap(_Whole(model.extract_feat, model.head)))
        model.extract_feat = lambda images: images


class _Called(nn.Module):
    """A module that calls a function."""

    def __init__(self, function: Callable):
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


class _Whole:
    """Returns encoder, neck and head as one function of images."""

    def __init__(self, extract: Callable, head: nn.Module):
        self.extract, self.head = extract, head

    def __call__(self, images: Tensor) -> HeadOutput:
        return self.head(self.extract(images))


def _change_by_onnx(model, exported):
    eager, tile = model.encode_decode, tuple(exported.info['tile'])

    def encode_decode(inputs, batch_img_metas):
        if tuple(inputs.shape[2:]) != tile:  # the export has one size; torch computes other sizes
            return eager(inputs, batch_img_metas)
        return _run(exported, 'model', pair=inputs)[0]

    model.encode_decode = encode_decode


def _embedding_by_onnx(model, exported):
    def head(images):
        vector, *scores = _run(exported, 'model', image=images)
        return HeadOutput.single(vector, torch.logit(scores[0]) if scores else None)

    model.head = _Called(head)
    model.extract_feat = lambda images: images


def _retrieval_by_onnx(model, exported):
    model.clip.encode_image = lambda image, *_: _run(exported, 'image', image=image)[0]
    model.clip.encode_text = lambda tokens, *_: _run(exported, 'text', tokens=tokens)[0]


def _few_shot_by_onnx(model, exported):
    names = exported.info['graphs']['support']['outputs']

    def encode_supports(images, masks):
        return _run(exported, 'support', image=images, mask=masks.float())

    def segment(query, supports):
        kept = dict(zip(names, supports))
        found = [_run(exported, 'model', query=query[i : i + 1], **kept) for i in range(len(query))]
        return torch.stack([logits for (logits,) in found])

    def episode_logits(inputs, data_samples, query_mask=None):
        masks = [sample.support_mask for sample in data_samples]
        logits = [
            segment(query[None], encode_supports(support, mask))
            for query, support, mask in zip(inputs['query'], inputs['support'], masks)
        ]
        return CorrelationLogits(torch.cat(logits), None, None)

    model.encode_supports, model.segment = encode_supports, segment
    model.episode_logits = episode_logits


_ONNX = dict(
    change=_change_by_onnx,
    embedding=_embedding_by_onnx,
    retrieval=_retrieval_by_onnx,
    few_shot=_few_shot_by_onnx,
)


def _run(exported, name, **inputs):
    found = exported.run(name, **{key: value.cpu().numpy() for key, value in inputs.items()})
    device = next(iter(inputs.values())).device
    return [torch.from_numpy(array).to(device) for array in found]
