"""What an embedding head returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class HeadOutput(NamedTuple):
    """Embedding and logits, and the branches the losses see.

    Attributes:
        embedding: (N, D), the vector a test stores, before normalisation.
        logits: (N, L) or None.
        groups: groups of branches ``(embedding, logits)``; a loss is averaged within a group and
            summed over groups.
    """

    embedding: Tensor
    logits: Tensor | None
    groups: tuple

    @classmethod
    def single(cls, embedding: Tensor, logits: Tensor | None) -> HeadOutput:
        """The output of a head with one branch."""
        return cls(embedding, logits, (((embedding, logits),),))
