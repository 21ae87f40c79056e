"""A training-free retriever by image, text, or both, from the two towers of CLIP."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn

from rs_mm.errors import ConfigError, MissingFileError
from rs_mm.models.utils.pretrained import pretrained_file
from rs_mm.registry import MODELS
from rs_mm.structures import EmbeddingDataSample

from .clip_weights import load_tag, load_weights
from .preprocessors.embedding_preprocessor import EmbeddingDataPreprocessor
from .utils.model_identity import model_identity

PRECISIONS = dict(fp32=None, fp16=torch.float16, bf16=torch.bfloat16)


@MODELS.register_module(name=['ComposedDataPreprocessor', 'ComposedDataPreProcessor'])
class ComposedDataPreprocessor(EmbeddingDataPreprocessor):
    """Collated ``inputs`` of images, or a dict of ``image`` and ``text``, on the model's device."""

    def forward(self, data: dict, training: bool = False) -> dict:
        """Images (N, C, H, W), or a dict with ``image`` (the same) and ``text`` (N strings)."""
        inputs = data['inputs']
        if not isinstance(inputs, dict):
            return super().forward(data, training)
        inputs = dict(inputs)
        if 'image' in inputs:
            images = super().forward(dict(inputs=inputs['image']), training)
            inputs['image'] = images['inputs']
        return dict(inputs=inputs, data_samples=data.get('data_samples'))


@MODELS.register_module()
class ComposedRetriever(BaseModel):
    """A model that embeds images and texts into one space, without training (WeiCom, IGARSS 2024).

    Args:
        arch: name of an open_clip architecture, or its configuration: ``embed_dim``,
            ``vision_cfg``, ``text_cfg`` as in open_clip's JSON files. A plain name means GELU.
            Published WeiCom and RemoteCLIP numbers use plain names also for weights that were
            trained with the quick variant; ``ViT-L-14-quickgelu`` is the activation that OpenAI's
            weights were trained with.
        tokenizer: folder of a tokenizer in the format of Hugging Face, for a tower that does not
            use CLIP's tokenizer (SigLIP). Default: the tokenizer that open_clip names, which is
            downloaded.
        precision: ``fp32``, or ``fp16`` / ``bf16`` for automatic mixed precision on a GPU (on
            a CPU torch's attention layer then copies its weights for every token, and is over ten
            times as slow). Embeddings are normalised in, and returned as, float32.
        init_cfg: ``dict(type='Pretrained', checkpoint=X)`` where X is a file (a bare
            state dict such as ``CLIP-ViT-L-14.bin`` or ``RemoteCLIP-ViT-L-14.pt``, or OpenAI's
            TorchScript archive) or ``open_clip:TAG``, which open_clip downloads. None leaves
            the weights random.
        data_preprocessor: default :class:`ComposedDataPreprocessor`.

    Examples:
        >>> model = ComposedRetriever('ViT-B-32')
        >>> model.encode_text(['with boats']).shape
        torch.Size([1, 512])
    """

    compiled_parts = ('clip.visual',)  # texts are few

    def __init__(
        self,
        arch: str | dict,
        precision: str = 'fp32',
        init_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        tokenizer: str | None = None,
    ) -> None:
        data_preprocessor = data_preprocessor or dict(type='ComposedDataPreprocessor')
        super().__init__(MODELS.build(data_preprocessor), init_cfg)
        if precision not in PRECISIONS:
            raise ConfigError(
                f'model.precision={precision!r}: choose one of {", ".join(PRECISIONS)}.'
            )
        self.arch, self.precision = arch, precision
        self.clip = build_clip(arch)
        self.tokenizer_folder = tokenizer

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer, which turns texts into token ids; it is loaded for the first text."""
        return build_tokenizer(self.arch, self.tokenizer_folder)

    def init_weights(self) -> None:
        """Loads the weights that ``init_cfg`` names; see
        :func:`rs_mm.models.clip_weights.load_weights`."""
        if self.is_init:
            return
        if self.init_cfg is None:
            print_log(
                'model.init_cfg names no weights: they are random', 'current', logging.WARNING
            )
            return
        source = pretrained_file(self)
        if not source:
            raise ConfigError(
                "model.init_cfg: write dict(type='Pretrained', checkpoint=FILE or "
                '"open_clip:TAG").'
            )
        if source.startswith('open_clip:'):
            load_tag(self.clip, self.arch, source.removeprefix('open_clip:'))
        else:
            load_weights(self.clip, source, self.arch)
        self._is_init = True

    def identity(self) -> dict[str, str]:
        """Returns what the features depend on: architecture, precision, normalisation, hash of all
        weights."""
        normalisation = model_identity([self.data_preprocessor])
        return dict(
            arch=str(self.arch),
            precision=self.precision,
            normalisation=normalisation['arch'] + normalisation['weights'],
            weights=model_identity([self.clip])['weights'],
        )

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W), preprocessed, to (N, D) float32 of length 1."""
        size = getattr(self.clip.visual, 'image_size', None)
        if size is not None and tuple(images.shape[-2:]) != _pair(size):
            raise ConfigError(
                f'the model takes images of {_pair(size)} pixels, got '
                f'{tuple(images.shape[-2:])}: set the `size` of OpenCLIPPreprocess '
                'in the pipeline.'
            )
        with self._autocast(images.device):
            features = self.clip.encode_image(images)
        features = features.float()
        return features / features.norm(dim=-1, keepdim=True)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Texts to (N, D) float32 of length 1; a text that is too long is cut with a warning."""
        device = next(self.clip.parameters()).device
        tokens = self.tokenize(texts).to(device)
        with self._autocast(device):
            features = self.clip.encode_text(tokens)
        features = features.float()
        return features / features.norm(dim=-1, keepdim=True)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Texts to (N, context) int64 token ids."""
        texts = list(texts)
        length = self.tokenizer.context_length
        longer = self.tokenizer(texts, context_length=length + 1)
        inner = getattr(self.tokenizer, 'tokenizer', None)
        padding = getattr(inner, 'pad_token_id', None) or 0
        for text, row in zip(texts, longer):
            if row[length] != padding:
                warnings.warn(
                    f'a text is longer than the {length} tokens of the model and is cut: '
                    f'"{text[:60]}…"',
                    stacklevel=2,
                )
        return self.tokenizer(texts)

    def example_inputs(self, batch: int, height: int, width: int) -> dict:
        """Returns random images as the data pipeline packs them, for the analysis tools."""
        size = _pair(getattr(self.clip.visual, 'image_size', (height, width)))
        if size != (height, width):
            raise ConfigError(
                f'the image tower of this config takes {size[0]} x {size[1]} pixels, '
                f'not {height} x {width}: use --shape {size[0]}.'
            )
        images = torch.randn(batch, 3, height, width)
        return dict(inputs=list(images), data_samples=[EmbeddingDataSample() for _ in images])

    def forward(
        self,
        inputs: Tensor | dict,
        data_samples: list[EmbeddingDataSample] | None = None,
        mode: str = 'tensor',
    ) -> dict | list[EmbeddingDataSample]:
        """Embeds images, texts, or both.

        Args:
            inputs: images (N, 3, H, W), or a dict with ``image`` (the same) and/or ``text`` (N
                strings).
            data_samples: samples to write into; None makes new ones.
            mode: ``tensor``: dict with ``image`` and/or ``text``, each (N, D); ``predict``: the
                samples with ``embedding``, (D,) for one modality and (2, D), image first, for
                both. There is no ``loss``.
        """
        if mode == 'loss':
            raise ConfigError(
                'ComposedRetriever is training-free and has no loss; evaluate it '
                'with tools/test.py.'
            )
        inputs = inputs if isinstance(inputs, dict) else dict(image=inputs)
        if not inputs.keys() & {'image', 'text'}:
            raise ConfigError('ComposedRetriever: inputs needs `image`, `text`, or both.')
        features = {}
        if 'image' in inputs:
            features['image'] = self.encode_image(inputs['image'])
        if 'text' in inputs:
            features['text'] = self.encode_text(inputs['text'])
        if mode == 'tensor':
            return features
        if mode != 'predict':
            raise ConfigError(f'mode is {mode!r}; use "tensor" or "predict".')
        stacked = torch.stack(list(features.values()), 1)
        stacked = stacked[:, 0] if len(features) == 1 else stacked
        samples = data_samples or [EmbeddingDataSample() for _ in stacked]
        for sample, embedding in zip(samples, stacked):
            sample.set_embedding(embedding)
        return samples

    def _autocast(self, device):
        dtype = PRECISIONS[self.precision]
        return torch.autocast(device.type, dtype) if dtype else contextlib.nullcontext()


def build_clip(arch: str | dict) -> nn.Module:
    """Builds an open_clip model with random weights.

    Raises:
        ConfigError: open_clip does not have this architecture.
    """
    import open_clip

    if not isinstance(arch, str):
        settings = {key: _plain(value) for key, value in arch.items()}
        custom = settings.pop('custom_text', False)
        return (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**settings)
    if arch not in open_clip.list_models():
        import difflib

        near = difflib.get_close_matches(arch, open_clip.list_models(), 3, 0.5)
        hint = f'; did you mean {" or ".join(near)}' if near else ''
        raise ConfigError(f'model.arch={arch!r} is not an architecture of open_clip{hint}?')
    # its warning about random weights comes too early: init_weights() follows
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        return open_clip.create_model(arch)
    finally:
        logging.disable(disabled)


def build_tokenizer(arch: str | dict, folder: str | None = None) -> Any:
    """Returns the tokenizer that an architecture was trained with.

    Args:
        arch: name or configuration of the architecture.
        folder: a tokenizer in the format of Hugging Face, instead of the one that open_clip names.

    Raises:
        ConfigError: the package that reads it is missing.
        MissingFileError: the tokenizer cannot be read or downloaded.
    """
    import open_clip

    text = (open_clip.get_model_config(arch) if isinstance(arch, str) else arch)['text_cfg']
    length = text.get('context_length', 77)
    name = folder or text.get('hf_tokenizer_name')
    if not name:
        return open_clip.SimpleTokenizer(context_length=length)
    if importlib.util.find_spec('transformers') is None:
        raise ConfigError(
            'the tokenizer of this tower is read by transformers: pip install "rs_mm[siglip]".'
        )
    try:
        return open_clip.tokenizer.HFTokenizer(
            str(name), context_length=length, **_plain(text.get('tokenizer_kwargs', {}))
        )
    except (OSError, ValueError) as error:
        raise MissingFileError(
            f'the tokenizer {name} could not be read or fetched '
            f'({str(error).splitlines()[0]}); put its files (tokenizer.json, '
            'tokenizer_config.json) into a folder and name that as model.tokenizer.'
        ) from error


def _pair(size):
    return (size, size) if isinstance(size, int) else tuple(size)


def _plain(value):
    """Converts mmengine's ConfigDict to a dict, which open_clip unpacks into dataclasses."""
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


ComposedDataPreProcessor = ComposedDataPreprocessor  # its name until version 0.1
