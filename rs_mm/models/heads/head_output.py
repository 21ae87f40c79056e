"""The result of an embedding head."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class HeadOutput(NamedTuple):
    """Embedding and logits, and the branches that the losses get.

    Attributes:
        embedding: (N, D), the vector that a test stores, before normalisation.
        logits: (N, L) or None.
        groups: groups of branches ``(embedding, logits)``; a loss is averaged within a group and
            summed over groups.
    """

    embedding: Tensor
    logits: Tensor | None
    groups: tuple

    @classmethod
    def single(cls, embedding: Tensor, logits: Tensor | None) -> HeadOutput:
        """Makes the output of a head with one branch."""
        return cls(embedding, logits, (((embedding, logits),),))
