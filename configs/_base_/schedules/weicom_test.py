# Nothing is trained: the test loop extracts features, evaluates them, and writes the table.
_base_ = '../default_runtime.py'

training_free = True
test_cfg = dict(type='ComposedRetrievalLoop', cache_dir='work_dirs/features')
default_hooks = dict(
    visualization=dict(
        _delete_=True,
        type='ComposedRetrievalVisualizationHook',
        draw=False,
        out_dir=None,
        show=False,
        queries_per_set=3,
        k=8,
    )
)
