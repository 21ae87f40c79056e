# How the images of an archive become features, computed once, and how the features are searched.
test_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='ChosenSampler'),
    dataset=dict(
        pipeline=[
            dict(type='LoadRGBImage'),
            dict(type='OpenCLIPPreprocess', size=224),
            dict(type='PackEmbeddingInputs'),
        ]
    ),
)
visualizer = dict(type='Visualizer', name='visualizer')
test_evaluator = dict(
    type='ComposedRetrievalMetric',
    methods=['ImageOnly', 'TextOnly', 'AverageFusion', 'WeiCom'],
    lambdas=[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
    ks=[5, 10, 15, 20],
    original_rounding=False,
)
