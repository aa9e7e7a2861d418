"""Weights of other statements of the `multiscale` network."""
