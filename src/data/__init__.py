"""Sequences to train and to measure on, as MindSpore datasets."""
