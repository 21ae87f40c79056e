from .classification import LabelCrossEntropyLoss, MultiLabelBCELoss

__all__ = ['LabelCrossEntropyLoss', 'MultiLabelBCELoss']
