"""Models and their parts; importing this package registers all of them."""

import mmseg.models  # noqa: F401  the parts reused under the scope `mmseg`

from . import (  # noqa: F401
    backbones,
    composed_retriever,
    embedder,
    heads,
    losses,
    memories,
    necks,
    preprocessors,
    segmentors,
    spectral,
)
