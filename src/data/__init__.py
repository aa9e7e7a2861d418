"""Sequences for training and evaluation, and their MindSpore datasets."""
