"""Conversion of weights between this project and other versions of the `multiscale` network."""
