"""Similarity, ranking, fusion, measures and re-ranking on plain tensors."""

from .basic import BASIC
from .evaluate import (
    CUTOFFS,
    THRESHOLDS,
    QueryMeasures,
    check_cutoffs,
    check_sizes,
    evaluate,
    split_queries,
)
from .fusion import WeiCom
from .label_similarity import MatchLevels, jaccard_distance, shared_labels
from .pca import PCA
from .ranking import Ranking, rank
from .rerank import AlphaQE, AverageQE, LabelAffinity
from .similarity import CosineScores, check_finite, normalized

__all__ = [
    'AlphaQE',
    'AverageQE',
    'BASIC',
    'CUTOFFS',
    'CosineScores',
    'LabelAffinity',
    'MatchLevels',
    'PCA',
    'QueryMeasures',
    'Ranking',
    'THRESHOLDS',
    'WeiCom',
    'check_cutoffs',
    'check_finite',
    'check_sizes',
    'evaluate',
    'jaccard_distance',
    'normalized',
    'rank',
    'shared_labels',
    'split_queries',
]
