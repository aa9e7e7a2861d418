"""Export of checkpoints to MINDIR, ONNX and AIR."""
