# AID: {train,test}/NAME.jpg (or a folder per scene class) and {train,test}.csv. The published split
# follows these two folders and has no validation list, so validation reads the test list: do not
# choose a checkpoint by this score.
_base_ = './ml_256.py'

data_root = 'data/AID'
num_classes = 17
dataset = dict(
    data_root=data_root,
    classes='aid',
    img_dirs=[
        'train',
        'train/*',
        'val',
        'test',
        'test/*',
        'images_tr/*',
        'images_test/*',
        'Images/*',
    ],
)

train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dict(ann_file='test.csv', **dataset))
test_dataloader = dict(dataset=dataset)
