"""Checkpoints as MINDIR, ONNX and AIR."""
