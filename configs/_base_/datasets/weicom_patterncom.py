# PatternNet (images/CLASS/*.jpg, patternnet.csv) with the queries of PatternCom's six tables.
_base_ = './weicom_archive.py'

data_root = 'data/PatternNet'
test_dataloader = dict(
    dataset=dict(type='PatternNet', data_root=data_root, ann_file='patternnet.csv')
)
test_evaluator = dict(
    queries=dict(
        type='PatternCom',
        data_root=f'{data_root}/PatternCom',
        attributes=['color', 'context', 'density', 'existence', 'quantity', 'shape'],
        published_row_shift=False,
    )
)
