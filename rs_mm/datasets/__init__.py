"""Datasets; importing this package registers all of them and their transforms."""

import mmseg.datasets  # noqa: F401  the transforms reused under the scope `mmseg`

from . import transforms  # noqa: F401
from .bigearthnet import BigEarthNetDataset
from .change_detection import (
    ChangeDetectionDataset,
    CLCD_Dataset,
    DSIFN_Dataset,
    LEVIR_CD_Dataset,
    S2Looking_Dataset,
    SVCD_Dataset,
    WHU_CD_Dataset,
)
from .collate import stack_collate
from .few_shot_dataset import DLRSD5iDataset, ISAID5iDataset, Pascal5iDataset
from .few_shot_folders import FewShotFolders
from .image_archive import AnyArchive, ImageArchive
from .multilabel_dataset import MultiLabelDataset
from .patterncom import PatternCom
from .patternnet import PatternNet
from .scene_archive import SceneArchive
from .scene_split import SceneSplit
from .seeding import ClassBalancedDataset, SeededSampleMixin
from .xview2_cir import XView2CIR

__all__ = [
    'AnyArchive',
    'BigEarthNetDataset',
    'CLCD_Dataset',
    'ChangeDetectionDataset',
    'ClassBalancedDataset',
    'DLRSD5iDataset',
    'DSIFN_Dataset',
    'FewShotFolders',
    'ISAID5iDataset',
    'ImageArchive',
    'LEVIR_CD_Dataset',
    'MultiLabelDataset',
    'Pascal5iDataset',
    'PatternCom',
    'PatternNet',
    'S2Looking_Dataset',
    'SVCD_Dataset',
    'SceneArchive',
    'SceneSplit',
    'SeededSampleMixin',
    'WHU_CD_Dataset',
    'XView2CIR',
    'stack_collate',
]
