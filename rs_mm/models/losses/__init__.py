"""Losses of an embedder; each is called by keyword and returns a scalar."""

from .average_sets import ContrastiveAverageLoss, TripletAverageLoss
from .classification import LabelCrossEntropyLoss, MultiLabelBCELoss
from .global_batch import gather_batch
from .label_ranking import LSEPLoss, WARPLoss
from .ordered_multilabel import OMLLoss
from .pixel import (
    PixelCrossEntropyLoss,
    PixelDiceLoss,
    PixelFocalLoss,
    PixelLovaszLoss,
    PixelTverskyLoss,
)
from .sndl import SNDLoss
from .squared_pairs import PairContrastiveLoss, PairHingeLoss, SquaredTripletLoss
from .triplet_hard import TripletHardLoss

__all__ = [
    'ContrastiveAverageLoss',
    'LSEPLoss',
    'LabelCrossEntropyLoss',
    'MultiLabelBCELoss',
    'OMLLoss',
    'PairContrastiveLoss',
    'PairHingeLoss',
    'PixelCrossEntropyLoss',
    'PixelDiceLoss',
    'PixelFocalLoss',
    'PixelLovaszLoss',
    'PixelTverskyLoss',
    'SNDLoss',
    'SquaredTripletLoss',
    'TripletAverageLoss',
    'TripletHardLoss',
    'WARPLoss',
    'gather_batch',
]
