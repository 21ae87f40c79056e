"""Metrics; importing this package registers all of them."""

from .change_metric import ChangeMetric
from .composed import ComposedRetrievalMetric
from .few_shot_iou import FewShotIoU
from .knn_metric import KNNMultiLabel
from .multilabel_retrieval import MultiLabelRetrieval

__all__ = [
    'ChangeMetric',
    'ComposedRetrievalMetric',
    'FewShotIoU',
    'KNNMultiLabel',
    'MultiLabelRetrieval',
]
