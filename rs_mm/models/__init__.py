"""Models and their parts; importing this package registers all of them."""

import mmseg.models  # noqa: F401  the parts reused under the scope `mmseg`

from . import backbones, data_preprocessors, embedder, heads, losses, necks, segmentors  # noqa: F401
