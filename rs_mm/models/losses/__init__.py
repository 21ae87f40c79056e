from .average_sets import ContrastiveAverageLoss, TripletAverageLoss
from .classification import LabelCrossEntropyLoss, MultiLabelBCELoss
from .ordered_multilabel import OMLLoss
from .triplet_hard import TripletHardLoss

__all__ = ['ContrastiveAverageLoss', 'LabelCrossEntropyLoss', 'MultiLabelBCELoss', 'OMLLoss',
           'TripletAverageLoss', 'TripletHardLoss']
