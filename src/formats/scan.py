"""One pass over frames, in pieces: extremes, mean, and what is missing or beyond the scale."""

from dataclasses import dataclass, field

import numpy as np

from src.runtime.progress import progress

# Bytes that are read at a time, and that take so long that it is shown.
PIECE_BYTES = 1 << 24
SHOWN_BYTES = 1 << 29


@dataclass
class Scan:
    """What a pass found; `place` is (frame, channel, row, column) of the first missing value."""

    lowest: float = np.inf
    highest: float = -np.inf
    total: float = 0.0
    values: int = 0
    missing: int = 0
    beyond: int = 0
    place: tuple | None = None
    empty: list = field(default_factory=list)

    @property
    def mean(self):
        """Of the values that are there; NaN of none."""
        return self.total / self.values if self.values else np.nan

    def add(self, piece, start, value_range=None):
        """Counts frames, (n, C, H, W), the first of which has the number `start`."""
        with np.errstate(invalid="ignore"):
            low, high = float(piece.min()), float(piece.max())
        if not np.isfinite((low, high)).all():
            piece = self._leave_out(piece, start)
            if not len(piece):
                return
            low, high = float(piece.min()), float(piece.max())
        self.values += piece.size
        self.total += float(piece.sum(dtype=np.float64 if piece.dtype.kind == "f" else None))
        self.lowest, self.highest = min(self.lowest, low), max(self.highest, high)
        if value_range and (low < value_range[0] or high > value_range[1]):
            outside = (piece < value_range[0]) | (piece > value_range[1])
            self.beyond += int(outside.sum())

    def _leave_out(self, piece, start):
        """Notes what is missing; returns the values that are there, flat."""
        there = np.isfinite(piece)
        self.missing += piece.size - int(there.sum())
        if self.place is None:
            frame, *place = np.argwhere(~there)[0].tolist()
            self.place = (start + frame, *place)
        self.empty += [start + int(n) for n in np.flatnonzero(~there.any((1, 2, 3)))]
        return piece[there]


def scan(read, start, stop, frame_bytes, name, value_range=None):
    """Looks at frames `start` to `stop` - 1.

    Args:
        read: a function from a first and a last but one number to frames, (n, C, H, W).
        start, stop: numbers of frames.
        frame_bytes: bytes of a frame.
        name: what to call the data in the progress display.
        value_range: count the values beyond it.

    Returns:
        A `Scan`.
    """
    found, step = Scan(), max(1, PIECE_BYTES // frame_bytes)
    total = stop - start
    hidden = total * frame_bytes < SHOWN_BYTES
    with progress(total, f"check {name}", hidden=hidden, unit="frames") as bar:
        for first in range(start, stop, step):
            last = min(first + step, stop)
            found.add(read(first, last), first, value_range)
            bar.update(last - first)
    return found
