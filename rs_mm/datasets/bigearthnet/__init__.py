"""BigEarthNet: conversion to an LMDB, and the dataset that reads it."""

from .dataset import BigEarthNetDataset, LoadBigEarthNetPatch, NormalizeBigEarthNet

__all__ = ['BigEarthNetDataset', 'LoadBigEarthNetPatch', 'NormalizeBigEarthNet']
