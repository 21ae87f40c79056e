"""Losses of an embedder; each is called by keyword and returns a scalar."""

from rs_mm.lazy_names import attach

__all__, __getattr__ = attach(
    __name__,
    {
        'average_sets': ['ContrastiveAverageLoss', 'TripletAverageLoss'],
        'classification': ['LabelCrossEntropyLoss', 'MultiLabelBCELoss'],
        'global_batch': ['gather_batch'],
        'label_ranking': ['LSEPLoss', 'WARPLoss'],
        'ordered_multilabel': ['OMLLoss'],
        'pixel': [
            'PixelCrossEntropyLoss',
            'PixelDiceLoss',
            'PixelFocalLoss',
            'PixelLovaszLoss',
            'PixelTverskyLoss',
        ],
        'sndl': ['SNDLoss'],
        'squared_pairs': ['PairContrastiveLoss', 'PairHingeLoss', 'SquaredTripletLoss'],
        'triplet_hard': ['TripletHardLoss'],
    },
)
