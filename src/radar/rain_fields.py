"""Synthetic rain in mm/h of many kinds: random fields that move, turn, grow and decay.

A Gaussian field with a power spectrum of k^-b evolves in Fourier space as an autoregressive process
whose correlation time grows with the wavelength, is carried along a linear flow (translation,
rotation, shear, convergence), and becomes rain by an exponential above a threshold. Every number of
it is drawn anew for each sequence, so that a network that has learned all of them knows no event
of its own. Some sequences have the round edge of a radar's range, beyond which values are missing.

Sources of the construction: Seed 2003, "A dynamic and spatial scaling approach to advection
forecasting" (S-PROG; J. Appl. Meteor. 42), and Bowler, Pierce & Seed 2006, "STEPS" (Q. J. R.
Meteorol. Soc. 132): power-law spectra, life that depends on scale. Not fitted to data.

Sequence n is a pure function of (seed, n).
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm
from scipy.ndimage import map_coordinates

from src.formats.arrays import npy_header
from src.runtime.files import write_atomically
from src.runtime.progress import progress

# Pixels by which the periodic field is wider than the frame on all sides.
MARGIN = 24
# Less rain than this in mm/h is none.
LOWEST = 0.1
# The fraction of sequences with the edge of a range.
RADAR_CHANCE = 0.5


@dataclass(frozen=True)
class Kind:
    """What is drawn for a sequence.

    Args:
        slope: b of the spectrum k^-b of power.
        outer: the wavelength in pixels beyond which the spectrum is flat.
        life: the correlation time in frames at a wavelength of 16 pixels.
        scaling: its exponent in the wavelength.
        wind: pixels a frame, down and to the right.
        gradient: (2, 2), the change of the wind in pixels a frame from pixel to pixel.
        wet: the fraction of the frame with rain.
        peak: the rate in mm/h that a thousandth of the frame exceeds.
    """

    slope: float
    outer: float
    life: float
    scaling: float
    wind: np.ndarray
    gradient: np.ndarray
    wet: float
    peak: float


def draw_kind(rng):
    """The `Kind` of a sequence."""
    speed, angle = 2.2 * rng.random() ** 0.8, 2 * np.pi * rng.random()
    return Kind(
        slope=rng.uniform(2.0, 3.2),
        outer=rng.uniform(20, 90),
        life=np.exp(rng.uniform(np.log(4), np.log(40))),
        scaling=rng.uniform(0.7, 1.6),
        wind=speed * np.array([np.sin(angle), np.cos(angle)]),
        gradient=rng.normal(scale=0.006, size=(2, 2)),
        wet=np.exp(rng.uniform(np.log(0.03), np.log(0.7))),
        peak=np.exp(rng.uniform(np.log(1.5), np.log(40))),
    )


class RainFields:
    """Sequences of synthetic rain, generated when they are read.

    Args:
        seed: seed of all sequences.
        frames: frames in a sequence.
        image_size: (height, width) in pixels.
    """

    def __init__(self, seed, frames, image_size=(64, 64)):
        self.seed, self.frames, self.image_size = seed, frames, tuple(image_size)

    def sequence(self, number):
        """A sequence, (T, H, W), float32, mm/h: 0 or at least 0.1, NaN beyond a radar's range."""
        rng = np.random.default_rng((self.seed, number))
        kind = draw_kind(rng)
        fields = self._evolve(kind, rng)
        carried = np.stack([self._carry(field, kind, t) for t, field in enumerate(fields)])
        rain = _rain(carried, kind)
        if rng.random() < RADAR_CHANCE:
            rain[:, self._beyond_range(rng)] = np.nan
        return rain.astype(np.float32)

    def _evolve(self, kind, rng):
        """The Gaussian fields at all times, (T, H', W'), periodic, of variance 1."""
        shape = [side + 2 * MARGIN for side in self.image_size]
        wave = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
        amplitude = np.maximum(wave, 1 / kind.outer) ** (-kind.slope / 2)
        amplitude[0, 0] = 0
        life = kind.life * (1 / np.maximum(wave, 1 / kind.outer) / 16) ** kind.scaling
        keep = np.exp(-1 / life)

        def noise():
            return np.fft.rfft2(rng.normal(size=shape)) * amplitude

        spectrum, fields = noise(), []
        for _ in range(self.frames):
            fields.append(np.fft.irfft2(spectrum, shape))
            spectrum = keep * spectrum + np.sqrt(1 - keep**2) * noise()
        fields = np.stack(fields)
        return fields / fields.std()

    def _carry(self, field, kind, t):
        """A field after t frames of motion, cut to the frame."""
        motion = np.zeros((3, 3))
        motion[:2, :2], motion[:2, 2] = kind.gradient, kind.wind
        back = expm(-t * motion)
        height, width = self.image_size
        rows, columns = np.mgrid[:height, :width] - np.reshape(
            [(height - 1) / 2, (width - 1) / 2], (2, 1, 1)
        )
        places = np.tensordot(back[:2, :2], np.stack([rows, columns]), 1) + back[:2, 2, None, None]
        centre = np.reshape([(side - 1) / 2 for side in field.shape], (2, 1, 1))
        return map_coordinates(field, places + centre, order=3, mode="grid-wrap")

    def _beyond_range(self, rng):
        """Where a frame is beyond the range of a radar near its centre, (H, W)."""
        height, width = self.image_size
        y, x = (side * rng.uniform(0.35, 0.65) for side in (height, width))
        radius = min(height, width) * rng.uniform(0.35, 0.6)
        rows, columns = np.mgrid[:height, :width]
        return np.hypot(rows - y, columns - x) > radius


def _rain(fields, kind):
    """Rain rates of Gaussian fields: an exponential above the quantile of what is dry."""
    first = fields[0]
    dry, peak = np.quantile(first, [1 - kind.wet, 1 - min(1e-3, kind.wet / 20)])
    rate = LOWEST * (kind.peak / LOWEST) ** ((fields - dry) / max(peak - dry, 1e-6))
    return np.where(fields >= dry, np.minimum(rate, 100.0), 0.0)


def write_sequences(path, rain, count):
    """Writes the first sequences, (count, T, H, W), float16: three digits of a rain rate."""

    def pieces():
        yield npy_header((count, rain.frames, *rain.image_size), "<f2")
        with progress(count, "rain") as bar:
            for number in range(count):
                yield rain.sequence(number).astype(np.float16).tobytes()
                bar.update()

    write_atomically(path, pieces())
