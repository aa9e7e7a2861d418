"""Files -> digits -> moving sequences -> MindSpore dataset."""
