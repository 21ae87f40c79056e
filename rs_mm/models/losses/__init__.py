from .classification import LabelCrossEntropyLoss, MultiLabelBCELoss
from .label_ranking import LSEPLoss, WARPLoss
from .sndl import SNDLoss
from .squared_pairs import PairContrastiveLoss, PairHingeLoss, SquaredTripletLoss

__all__ = ['LSEPLoss', 'LabelCrossEntropyLoss', 'MultiLabelBCELoss', 'PairContrastiveLoss',
           'PairHingeLoss', 'SNDLoss', 'SquaredTripletLoss', 'WARPLoss']
