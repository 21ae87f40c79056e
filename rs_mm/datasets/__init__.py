"""Datasets; importing this package registers all of them and their transforms."""

import mmseg.datasets  # noqa: F401  the transforms reused under the scope `mmseg`

from . import transforms  # noqa: F401
from .multilabel import MultiLabelDataset
from .patterncom import PatternCom

__all__ = ['MultiLabelDataset', 'PatternCom']
