"""Extrapolation of rain by optical flow, the usual yardstick of radar nowcasting, by pysteps.

The motion of the input frames is found by Lucas & Kanade's method on rain in dB; along it the last
frame is carried by a semi-Lagrangian scheme (Germann & Zawadzki 2002, Mon. Wea. Rev. 130). Rain
neither grows nor decays. What would come from outside the frame is unknown: NaN.
"""

from importlib.util import find_spec
from time import perf_counter

import numpy as np

from src.errors import InputError
from src.formats.cf.units import RAIN_RATE, UnitsError, conversion, rain_rate
from src.radar.importers import INSTALL, import_pysteps

# Less rain than this in mm/h is none, and stands at -15 dB, as is usual with pysteps.
DRY, DRY_DB = 0.1, -15.0


class Extrapolation:
    """Forecasts of rain by extrapolation.

    Args:
        input_frames: frames that it reads.
        channels: channels of a frame.
        units: units of the values; None: unknown, taken for mm/h.

    Raises:
        InputError: pysteps is not installed, or the frames are not of rain.
    """

    def __init__(self, input_frames, channels, units=None):
        self.pysteps = import_pysteps("--extrapolation")
        if find_spec("cv2") is None:
            raise InputError(f"--extrapolation needs OpenCV, which is not installed: {INSTALL}")
        if input_frames < 2 or channels != 1:
            raise InputError(
                f"--extrapolation needs two or more input frames of one channel; this network "
                f"reads {input_frames} of {channels}"
            )
        self.is_dbz = units is not None and units.lower() == "dbz"
        if not (self.is_dbz or units is None or _is_rain_rate(units)):
            raise InputError(f"--extrapolation needs rain in mm/h or dBZ; the data have {units!r}")
        if units is None:
            print("extrapolation: values without units are taken for mm/h")
        self.seconds = self.sequences = 0

    def __call__(self, inputs, frames):
        """The forecasts of `frames` frames after the inputs (B, T, 1, H, W), in the same units."""
        start = perf_counter()
        forecasts = np.stack([self._forecast(sequence[:, 0], frames) for sequence in inputs])
        self.seconds += perf_counter() - start
        self.sequences += len(inputs)
        return forecasts[:, :, None]

    def ms_per_sequence(self):
        """The mean time of a sequence's forecast in milliseconds."""
        return 1000 * self.seconds / max(self.sequences, 1)

    def _forecast(self, inputs, frames):
        """The forecast of a sequence (T, H, W)."""
        last = inputs[-1].astype(np.float64)
        if not np.isfinite(last).any():
            return np.full((frames, *last.shape), np.nan)
        extrapolate = self.pysteps.nowcasts.get_method("extrapolation")
        return extrapolate(last, self.motion(inputs), frames)

    def motion(self, inputs):
        """The motion of frames (T, H, W) in pixels a frame, (2, H, W), along x and y; only frames
        after the last one without any value count, and where nothing moves it is 0.
        """
        empty = np.flatnonzero(~np.isfinite(inputs).any((1, 2)))
        inputs = inputs[empty.max(initial=-1) + 1 :].astype(np.float64)
        if len(inputs) < 2:
            return np.zeros((2, *inputs.shape[1:]))
        rain = rain_rate(inputs) if self.is_dbz else inputs
        decibels, _ = self.pysteps.utils.transformation.dB_transform(
            rain, threshold=DRY, zerovalue=DRY_DB
        )
        return self.pysteps.motion.get_method("LK")(decibels)


def _is_rain_rate(units):
    """Whether numbers in these units are those in mm/h."""
    try:
        return conversion(units, RAIN_RATE, water=True) is None
    except UnitsError:
        return False
