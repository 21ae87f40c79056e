# DFC15 multi-label: Images/NAME.png, or the download's two folders; seeded 70/10/20 % split.
_base_ = './grn_256.py'

data_root = 'data/DFC15'
num_images, num_classes = 2339, 8  # for training
dataset = dict(
    data_root=data_root, img_dirs=['Images', 'images_tr', 'images_test'], label_table='dfc15'
)
split = dict(type='SceneSplit', by_folder=False, expected=3342)

train_dataloader = dict(dataset=dict(split=dict(subset='train', **split), **dataset))
val_dataloader = dict(dataset=dict(split=dict(subset='val', **split), **dataset))
test_dataloader = dict(dataset=dict(split=dict(subset='test', **split), **dataset))
