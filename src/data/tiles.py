"""Random tiles of sequences: what a training on large frames reads in place of whole ones."""

import dataclasses

import numpy as np

from src.data.dataset import Dataset

# Places that are tried for a tile before one without a valid value is taken.
PLACES = 20
# Sets the random numbers of places apart from those of other uses of the same seed.
STREAM = 1


class Tiles(Dataset):
    """A dataset of which each sequence is cut to one tile, the same in all of its frames.

    Its place is a pure function of seed, epoch and index, uniform over the frame. A place where all
    values of the sequence are missing is drawn again; if none of `PLACES` has a value, the tile
    counts in no loss.

    A side of a tile that is longer than the frame, which is padded then, is the frame's.

    Args:
        source: the dataset of whole frames.
        tile: (height, width) of a tile in pixels.
        seed: seed of the places.
    """

    def __init__(self, source, tile, seed):
        *first, height, width = source.shape
        sides = min(tile[0], height), min(tile[1], width)
        self.source = source
        self.seed = seed
        self.shape = (*first, *sides)
        self.free = height - sides[0], width - sides[1]
        self.normalizer = dataclasses.replace(source.normalizer, frame_size=sides)
        self.frequency = source.frequency
        self.name = f"{source.name}, random tiles of {sides[0]}x{sides[1]}"

    def __len__(self):
        return len(self.source)

    def __getitem__(self, indices):
        """The tiles of the sequences, (len(indices), T, C, height, width)."""
        whole = self.source.at_epoch(self.epoch)
        # One after the other: a batch of whole frames is never in memory.
        return np.stack([self._tile(whole[[index]][0], index) for index in indices])

    def times(self, index):
        """The times of a sequence of whole frames."""
        return self.source.times(index)

    def _tile(self, frames, index):
        """The tile of one sequence, (T, C, H, W)."""
        numbers = np.random.default_rng((self.seed, self.epoch, index, STREAM))
        height, width = self.shape[-2:]
        for _ in range(PLACES):
            top, left = (int(numbers.integers(most + 1)) for most in self.free)
            tile = frames[..., top : top + height, left : left + width]
            if np.isfinite(tile).any():
                break
        return tile
