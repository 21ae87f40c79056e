"""The embedder of multi-label retrieval: encoder -> neck -> head -> embedding and logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn

from rs_mm.errors import ConfigError, DataError
from rs_mm.models.heads.head_output import HeadOutput
from rs_mm.registry import MODELS
from rs_mm.structures import EmbeddingDataSample

from .utils.model_identity import model_identity


@MODELS.register_module()
class ImageEmbedder(BaseModel):
    """A model that maps images to vectors whose cosine similarity follows their shared labels.

    Args:
        encoder: builds the feature map; has ``out_channels``.
        head: turns the map into a :class:`~rs_mm.models.heads.HeadOutput`. If the config leaves out
            ``in_channels``, it is filled in from the encoder.
        neck: optional attention on the map; its ``in_channels`` is filled in the same way.
        losses: modules that return a scalar and are called with the keywords ``embedding`` (N, D)
            as the head made it, ``logits`` (N, L) or None, ``labels`` (N, L) float32 of 0 and 1,
            and ``sample_idx`` (N,) int64, rows of the training set. A loss may own state, such as a
            memory of the training set. Each appears in the log as ``loss_{loss.loss_name}``.
        data_preprocessor: default :class:`EmbeddingDataPreprocessor` without normalisation.

    A head with several branches yields groups of branches: each loss is averaged within a group
    and the groups are summed (Imbriaco et al., local and global branches).
    """

    def __init__(
        self,
        encoder: dict,
        head: dict,
        neck: dict | None = None,
        losses: Sequence[dict] = (),
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        data_preprocessor = data_preprocessor or dict(type='EmbeddingDataPreprocessor')
        super().__init__(MODELS.build(data_preprocessor), init_cfg)
        self.in_channels = encoder.get('in_channels', 3)
        self.num_classes = head.get('num_classes')
        self.encoder = MODELS.build(encoder)
        if not isinstance(self.encoder.out_channels, int):
            raise ConfigError(
                'model.encoder gives several maps, and an embedder needs one; leave out '
                'model.encoder.out_indices.'
            )
        channels = dict(in_channels=self.encoder.out_channels)
        self.neck = None if neck is None else MODELS.build({**channels, **neck})
        self.head = MODELS.build({**channels, **head})
        self.losses = nn.ModuleList(MODELS.build(loss) for loss in losses)
        names = [loss.loss_name for loss in self.losses]
        if len(set(names)) < len(names):
            raise ConfigError(
                f'model.losses has two losses with the same name: {names}; leave one out.'
            )

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Images (N, C, H, W) to the feature map (N, C', H', W') after the neck."""
        features = self.encoder(inputs)
        return features if self.neck is None else self.neck(features)

    def identity(self) -> dict[str, str]:
        """Returns what the embeddings depend on: hashes of architecture and weights, without the
        losses."""
        parts = (self.data_preprocessor, self.encoder, self.neck, self.head)
        return model_identity([part for part in parts if part is not None])

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W), preprocessed, to (N, D) float32 of length 1 (zero stays zero)."""
        return F.normalize(self.head(self.extract_feat(images)).embedding.float())

    def example_inputs(self, batch: int, height: int, width: int) -> dict:
        """Returns random images and labels as the data pipeline packs them, for the analysis
        tools."""
        labels = (torch.rand(batch, self.num_classes or 17) < 0.3).float()
        samples = [
            EmbeddingDataSample(metainfo=dict(sample_idx=i, name=str(i))).set_gt_label(row)
            for i, row in enumerate(labels)
        ]
        images = torch.rand(batch, self.in_channels, height, width)
        return dict(inputs=images, data_samples=samples)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[EmbeddingDataSample] | None = None,
        mode: str = 'tensor',
    ) -> dict | list[EmbeddingDataSample]:
        """Runs the model.

        Args:
            inputs: (N, C, H, W).
            data_samples: needed by mode ``loss`` only, with ``gt_label``.
            mode: ``tensor``: dict of ``embedding`` (N, D) as the head made it and ``logits``
                (N, L) or None; ``predict``: the samples with ``embedding`` (L2-normalised) and
                ``score``; ``loss``: dict of scalars.
        """
        output = self.head(self.extract_feat(inputs))
        if mode == 'tensor':
            return dict(embedding=output.embedding, logits=output.logits)
        if mode == 'predict':
            return self.add_predictions(output, data_samples)
        if mode == 'loss':
            return self.loss(output, data_samples)
        raise ConfigError(f'mode is {mode!r}; use "tensor", "predict" or "loss".')

    # the steps after the network work per sample and have custom gradients: they stay out of a
    # graph
    @torch.compiler.disable
    def loss(
        self, output: HeadOutput, data_samples: list[EmbeddingDataSample]
    ) -> dict[str, Tensor]:
        """Returns every configured loss over the branches of ``output``."""
        if not len(self.losses):
            raise ConfigError('model.losses is empty; training needs at least one loss.')
        device = output.embedding.device
        labels = stack_labels(data_samples).to(device, non_blocking=True)
        index = torch.tensor([sample.get('sample_idx', -1) for sample in data_samples])
        index = index.to(device, non_blocking=True)
        branches = [
            [tuple(None if x is None else x.float() for x in branch) for branch in group]
            for group in output.groups
        ]
        result = {}
        # similarities divided by a small temperature need float32, also under AMP
        with torch.autocast(labels.device.type, enabled=False):
            for loss in self.losses:
                groups = [
                    [
                        loss(embedding=embedding, logits=logits, labels=labels, sample_idx=index)
                        for embedding, logits in group
                    ]
                    for group in branches
                ]
                result[f'loss_{loss.loss_name}'] = sum(sum(group) / len(group) for group in groups)
        return result

    @staticmethod
    @torch.compiler.disable
    def add_predictions(
        output: HeadOutput, data_samples: list[EmbeddingDataSample] | None = None
    ) -> list[EmbeddingDataSample]:
        """Writes normalised embeddings and label scores into (new) samples.

        A zero vector stays zero; it has the same distance to all vectors.
        """
        embeddings = F.normalize(output.embedding.detach().float())
        if data_samples is None:
            data_samples = [EmbeddingDataSample() for _ in embeddings]
        for i, sample in enumerate(data_samples):
            sample.embedding = embeddings[i]
            if output.logits is not None:
                sample.score = output.logits[i].detach().float().sigmoid()
        return data_samples


def stack_labels(data_samples: Sequence[EmbeddingDataSample]) -> Tensor:
    """Returns the multi-hot labels (N, L) of a batch.

    Raises:
        DataError: a sample has no labels, or label rows differ in length.
    """
    labels = [sample.get('gt_label') for sample in data_samples or ()]
    for sample, label in zip(data_samples or (), labels):
        if label is None:
            raise DataError(
                f'image {sample.get("name", "?")!r} has no gt_label, which training '
                'needs; check the label file of the training set.'
            )
    if not labels:
        raise DataError('mode "loss" needs data_samples with gt_label; this batch has none.')
    lengths = sorted({len(label) for label in labels})
    if len(lengths) > 1:
        raise DataError(
            f'label rows of one batch differ in length: {lengths}; '
            'check the label file of the training set.'
        )
    return torch.stack(labels).float()
