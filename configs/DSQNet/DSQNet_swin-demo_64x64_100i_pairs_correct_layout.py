_base_ = './DSQNet_swin-demo_64x64_100i_pairs.py'

model = dict(decode_head=dict(bmq=dict(correct_layout=True)))
