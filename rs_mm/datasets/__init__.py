"""Datasets and their transforms."""

from rs_mm.lazy_names import attach

__all__, __getattr__ = attach(
    __name__,
    {
        'bigearthnet': ['BigEarthNetDataset'],
        'change_detection': [
            'CLCD_Dataset',
            'ChangeDetectionDataset',
            'DSIFN_Dataset',
            'LEVIR_CD_Dataset',
            'S2Looking_Dataset',
            'SVCD_Dataset',
            'WHU_CD_Dataset',
        ],
        'collate': ['stack_collate'],
        'few_shot_dataset': ['DLRSD5iDataset', 'ISAID5iDataset', 'Pascal5iDataset'],
        'few_shot_folders': ['FewShotFolders'],
        'image_archive': ['AnyArchive', 'ImageArchive'],
        'multilabel_dataset': ['MultiLabelDataset'],
        'patterncom': ['PatternCom'],
        'patternnet': ['PatternNet'],
        'scene_archive': ['SceneArchive'],
        'scene_split': ['SceneSplit'],
        'seeding': ['ClassBalancedDataset', 'SeededSampleMixin'],
        'xview2_cir': ['XView2CIR'],
    },
)
