"""Files of arrays, pictures and records, without a word about training."""
