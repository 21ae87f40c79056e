# Query expansions and label affinity, each reported beside the plain ranking.
_base_ = './oml_r50_oml_256_100e_ucm.py'
test_evaluator = dict(
    rerank=[
        dict(type='AverageQE', k=10),
        dict(type='AlphaQE', k=10, alpha=3),
        dict(type='LabelAffinity'),
    ]
)
