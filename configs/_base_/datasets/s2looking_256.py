# As s2looking_512.py, with crops of 256; tests at the size of the images.
_base_ = './s2looking_512.py'

crop_size = (256, 256)
train_pipeline = [
    dict(step, crop_size=crop_size) if step['type'] == 'MultiImgRandomCrop' else step
    for step in _base_.train_pipeline
]
test_pipeline = [step for step in _base_.test_pipeline if step['type'] != 'MultiImgResize']

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
