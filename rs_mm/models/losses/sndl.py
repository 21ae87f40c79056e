"""Scalable neighbour discriminative loss: pull an image to the images that share its labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_mm.errors import ConfigError
from rs_mm.registry import MODELS

_LOG2_E = 1.4426950408889634
_SAFE = 60  # powers of two up to +-60 and their sums are far from the limits of float32
_SMALL = 1e-4  # a float32 difference below this part of its sum has too few digits
_TINY = 1e-30
_DTYPES = dict(float32=torch.float32, bfloat16=torch.bfloat16, float16=torch.float16)


def sndl_loss(
    features: Tensor,
    index: Tensor,
    memory: Tensor,
    memory_labels: Tensor,
    temperature: float = 0.05,
    margin: float = 0.0,
    chunk_size: int | None = None,
    max_similarities: int = 2**26,
    dtype: torch.dtype = torch.float32,
    work: Tensor | None = None,
) -> Tensor:
    """SNDL of a batch against a memory, with a gradient for the features only.

    With ``e = exp(feature . row / T)`` and ``w`` the share of label positions on which an image
    and a row agree (absent labels included), ``P = sum w e``, ``Q = sum (1 - w) e``, both without
    the image's own row, the loss of an image is ``log(1 + exp(margin / T) Q / P)``. An image whose
    P is 0 (it agrees with no row in any label) adds 0 but counts in the batch size.

    Loss and gradient are computed together, with the two products of batch and memory that the
    gradient needs; later the memory is not read again. Label agreement comes from products of the
    label matrices chunk by chunk and is never stored. Exponentials, powers of two for speed, are
    taken relative to the largest similarity if they could leave the range of float32. Images for
    which this is not enough are computed in log space. So any temperature is safe.

    Source: Kang et al., TGRS 2020, Eq. (5)-(7). The weight is 1 - Hamming distance / L.

    Args:
        features: (B, D), L2-normalised.
        index: (B,) int64, the images' own rows in the memory.
        memory: (N, D) float32.
        memory_labels: (N, L) of 0 and 1.
        temperature: T > 0.
        margin: margin on the similarity, before the division by T.
        chunk_size: memory rows compared at a time. Default: 4096 on a CPU, where
            a chunk stays in cache; 65536 elsewhere.
        max_similarities: bounds the working memory: a batch is divided if B x N exceeds it.
        dtype: precision of the products of features and memory; sums and
            exponentials are float32 in any case.
        work: float32 buffer to work in, at least
            ``min(B * N, max(max_similarities, N))`` long; saves allocating it at every step.

    Returns:
        Float32 scalar.
    """
    if chunk_size is None:
        chunk_size = 4096 if features.device.type == 'cpu' else 65536
    return _SNDL.apply(
        features,
        index,
        memory,
        memory_labels,
        float(temperature),
        float(margin),
        chunk_size,
        max_similarities,
        dtype,
        work,
    )


class _SNDL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        features,
        index,
        memory,
        memory_labels,
        temperature,
        margin,
        chunk_size,
        max_similarities,
        dtype,
        work,
    ):
        # autocast would round the similarities, which are divided by T right after
        with torch.autocast(features.device.type, enabled=False):
            # with a column of ones, one product gives sum e by label and over all
            states = memory.new_ones(len(memory), memory_labels.shape[1] + 1)
            states[:, :-1] = memory_labels
            queries = features.float() / temperature
            largest = queries.norm(dim=1).amax() * memory.norm(dim=1).amax()
            relative = not bool(largest * _LOG2_E < _SAFE)
            rows = max(1, max_similarities // len(memory))
            losses, grads = zip(
                *[
                    _block(
                        queries[i : i + rows],
                        index[i : i + rows],
                        memory,
                        states,
                        margin / temperature,
                        chunk_size,
                        dtype,
                        work,
                        relative,
                        ctx.needs_input_grad[0],
                    )
                    for i in range(0, len(queries), rows)
                ]
            )
        if ctx.needs_input_grad[0]:
            scale = 1 / (temperature * len(features))
            ctx.save_for_backward((torch.cat(grads) * scale).to(features.dtype))
        return torch.cat(losses).sum() / len(features)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        (grad,) = ctx.saved_tensors
        return grad_output.to(grad.dtype) * grad, *[None] * 9


def _block(queries, index, memory, states, margin, chunk_size, dtype, work, relative, with_grad):
    """Returns the losses (b,) of some images and the gradient (b, D) with respect to ``queries``.

    Similarities are stored by memory row, as (rows of the chunk, b); products with the memory and
    with its labels are fastest in this order.
    """
    count, num_labels = len(queries), states.shape[1] - 1
    own = states[index, :-1]
    starts = range(0, len(memory), chunk_size)
    if work is None:
        work = memory.new_empty(count * len(memory))

    def exponentials(start, size):
        return work[count * start : count * (start + size)].view(size, count)

    peaks, sums = [], []
    columns = (queries.t() * _LOG2_E).to(dtype).contiguous()
    everyone = torch.arange(count, device=index.device)
    for start in starts:
        chunk = memory[start : start + chunk_size].to(dtype)
        e = exponentials(start, len(chunk))
        if dtype == e.dtype:
            torch.mm(chunk, columns, out=e)
        else:
            e.copy_(chunk @ columns)
        _leave_out_own(e, index - start, everyone)
        peaks.append(
            e.amax(0).clamp_min(torch.finfo(e.dtype).min) if relative else e.new_zeros(count)
        )
        if relative:
            e.sub_(peaks[-1])
        e.exp2_()
        sums.append(states[start : start + chunk_size].t() @ e)
    scales = torch.stack(peaks)
    scales = (scales - scales.amax(0)).exp2_()
    sums = torch.einsum('klb,kb->bl', torch.stack(sums), scales) / num_labels

    total = sums[:, -1] * num_labels
    alike = torch.where(own > 0, sums[:, :-1], sums[:, -1:] - sums[:, :-1]).sum(1)
    unlike = total - alike
    # these are differences: a result that is small beside the total has lost its digits
    lost = ~(alike > _SMALL * total)
    if margin > 8:  # otherwise such a small Q adds almost nothing
        lost |= unlike < _SMALL * total
    alike, unlike = alike.clamp_min(_TINY), unlike.clamp_min(_TINY)
    odds = unlike.log() - alike.log() + margin
    losses, wrong = F.softplus(odds), odds.sigmoid()
    grad = torch.zeros_like(columns, dtype=memory.dtype) if with_grad else None
    if with_grad:
        # d loss / d similarity = wrong e ((1 - w) / Q - w / P), linear in a row's labels
        inside, outside = -(wrong / alike)[:, None], (wrong / unlike)[:, None]
        slopes = torch.where(own > 0, inside - outside, outside - inside) / num_labels
        share = own.mean(1, keepdim=True)
        weights = torch.cat([slopes, share * outside + (1 - share) * inside], 1).t().contiguous()
        factors = memory.new_empty(min(chunk_size, len(memory)), count)
        for scale, start in zip(scales, starts):
            chunk = memory[start : start + chunk_size]
            e = exponentials(start, len(chunk))
            e.mul_(
                torch.mm(
                    states[start : start + chunk_size], weights * scale, out=factors[: len(chunk)]
                )
            )
            if dtype == e.dtype:
                grad.addmm_(chunk.t(), e)
            else:
                grad += (chunk.t().to(dtype) @ e.to(dtype)).float()
        grad = grad.t().contiguous()
    for rows in lost.nonzero()[:, 0].split(16):
        losses[rows], rows_grad = _in_log_space(queries[rows], index[rows], memory, states, margin)
        if with_grad:
            grad[rows] = rows_grad
    return losses, grad


def _in_log_space(queries, index, memory, states, margin):
    """Computes losses and gradients of images whose P or Q is too small beside its largest term."""
    similarity = memory @ queries.t()
    _leave_out_own(similarity, index, torch.arange(len(index), device=index.device))
    similarity = similarity.t()
    labels = states[:, :-1]
    agreement = labels[index] @ labels.t() + (1 - labels[index]) @ (1 - labels).t()
    agreement /= labels.shape[1]
    alike, unlike = similarity + agreement.log(), similarity + (1 - agreement).log()
    log_alike, log_unlike = alike.logsumexp(1), unlike.logsumexp(1)
    # an image that agrees with no row in any label, or with every row in all, adds nothing
    known = log_alike.isfinite() & log_unlike.isfinite()
    odds = torch.where(known, log_unlike - log_alike + margin, -torch.inf)
    pull = (unlike.softmax(1) - alike.softmax(1)) @ memory
    return F.softplus(odds), torch.where(known[:, None], odds.sigmoid()[:, None] * pull, 0)


def _leave_out_own(similarities, row, column):
    """Sets entry (row[i], column[i]) to -inf if that row is in this chunk."""
    inside = row.clamp(0, len(similarities) - 1)
    similarities[inside, column] = torch.where(
        inside == row, -torch.inf, similarities[inside, column]
    )


@MODELS.register_module()
class SNDLoss(nn.Module):
    """SNDL on the embedding, with its memory; see :func:`sndl_loss`.

    In training the memory's rows of the batch are updated as soon as the loss is known. The
    published code does so in the backward pass; the result is the same, because loss and gradient
    have both been computed from the old rows by then. The update in the forward pass keeps
    collective calls out of the backward pass, where DDP runs its own. It does not depend on loss
    scaling or on steps that the gradient scaler skips. With gradient accumulation, the rows of each
    micro-batch get exactly one update. Without gradient, or in evaluation mode, nothing is updated.

    Args:
        memory: config of the :class:`FeatureBank`.
        temperature: T. Default: 0.05, as published.
        margin: margin on the similarity. Default: 0.0, as published.
        loss_weight: factor of the loss.
        dtype: precision of the large products: ``'float32'``, ``'bfloat16'``, ``'float16'``.
        chunk_size, max_similarities: see :func:`sndl_loss`.
    """

    loss_name = 'sndl'

    def __init__(
        self,
        memory: dict,
        temperature: float = 0.05,
        margin: float = 0.0,
        loss_weight: float = 1.0,
        dtype: str = 'float32',
        chunk_size: int | None = None,
        max_similarities: int = 2**26,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ConfigError(f'SNDLoss: `temperature` must be positive, not {temperature}.')
        if dtype not in _DTYPES:
            raise ConfigError(
                f'SNDLoss: `dtype` must be one of {", ".join(_DTYPES)}, not {dtype!r}.'
            )
        self.memory = MODELS.build(memory)
        self.temperature, self.margin, self.loss_weight = temperature, margin, loss_weight
        self.dtype = _DTYPES[dtype]
        self.chunk_size, self.max_similarities = chunk_size, max_similarities
        self._work = torch.empty(0)

    def forward(
        self,
        embedding: Tensor,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
        sample_idx: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch, a scalar.

        Args:
            embedding: (B, D); normalised here if the head does not.
            logits: not used.
            labels: not used, because the memory has the labels of the whole training set.
            sample_idx: (B,) int64, positions in the training set.

        Raises:
            ConfigError: ``sample_idx`` is missing, or the memory has no labels, or its dimension is
                not that of the embedding.
            DataError: an index is outside the memory.
        """
        memory = self.memory
        if sample_idx is None:
            raise ConfigError("SNDLoss needs `sample_idx`, the images' rows in its memory.")
        if embedding.shape[1] != memory.features.shape[1]:
            raise ConfigError(
                f'the embedding has {embedding.shape[1]} dimensions, the memory '
                f'{memory.features.shape[1]}: set `dim` of the FeatureBank.'
            )
        if not memory.labelled:
            raise ConfigError(
                "the memory has no labels of the training set: add `dict(type='"
                "FeatureBankHook')` to `custom_hooks`."
            )
        memory.check_index(sample_idx)
        embedding = F.normalize(embedding.float())
        loss = sndl_loss(
            embedding,
            sample_idx,
            memory.features,
            memory.labels,
            self.temperature,
            self.margin,
            self.chunk_size,
            self.max_similarities,
            self.dtype,
            self._work_for(embedding),
        )
        if self.training and torch.is_grad_enabled():
            memory.update(embedding, sample_idx)
        return self.loss_weight * loss

    def _work_for(self, embedding):
        size = len(self.memory.features)
        rows = min(len(embedding), max(1, self.max_similarities // size))
        if self._work.numel() < rows * size or self._work.device != embedding.device:
            self._work = torch.empty(rows * size, device=embedding.device)
        return self._work
