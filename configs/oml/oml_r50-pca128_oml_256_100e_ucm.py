# PCA with whitening to 128 dimensions, fitted on the database at test.
_base_ = './oml_r50_oml_256_100e_ucm.py'
test_evaluator = dict(pca=dict(dims=128, whiten=True))
