# AID multi-label: SCENE/NAME.jpg, also below Images or below the two folders of the download;
# seeded split.
_base_ = './grn_256.py'

data_root = 'data/AID'
num_images, num_classes = 2100, 17  # for training
dataset = dict(
    data_root=data_root,
    img_dirs=['*', 'Images/*', 'images_tr/*', 'images_test/*'],
    label_table='aid',
)
split = dict(type='SceneSplit', expected=3000)

train_dataloader = dict(dataset=dict(split=dict(subset='train', **split), **dataset))
val_dataloader = dict(dataset=dict(split=dict(subset='val', **split), **dataset))
test_dataloader = dict(dataset=dict(split=dict(subset='test', **split), **dataset))
