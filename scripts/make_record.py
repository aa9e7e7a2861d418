"""Makes one record, NetCDF or Zarr, of the radar composites that weather services publish.

python scripts/make_record.py FOLDER --output rain.nc                       # formats by content
python scripts/make_record.py 'FOLDER/RAD_NL25_*.h5' --output rain.zarr --coarsen 4
python scripts/make_record.py FOLDER --output rain.nc --time_from_name 'rain_%Y%m%d_%H%M.gif'

Reads HDF5 of KNMI and of ODIM (OPERA), GIF of MeteoSwiss, PGM of FMI and NetCDF of the Bureau of
Meteorology by pysteps, and NetCDF and Zarr by the CF conventions by xarray:
pip install "numpy<2" pysteps opencv-python-headless h5py xarray cf_xarray cf-units netcdf4 zarr
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src.config import cli
from src.radar.frames import RATE, REFLECTIVITY  # noqa: E402
from src.radar.maker import Choices, make_record  # noqa: E402
from src.radar.published import FORMATS  # noqa: E402


def parse_args(argv=None):
    """The command line's arguments."""
    parser = cli.Parser(__doc__)
    add = parser.add_argument
    add("source", help="the published files: a folder, with those below it, or a quoted pattern")
    add("--output", required=True, metavar="FILE", help="the record to write: *.nc or *.zarr")
    add("--overwrite", action=cli.Switch, help="replace an existing record")
    add("--format", choices=FORMATS, help="format of the files (default: found by their content)")
    add(
        "--quantity",
        choices=("RATE", "ACRR", "DBZH"),
        help="which quantity of an ODIM file to read (default: the only one)",
    )
    add("--variable", help="which variable of a CF file to read (default: the only one)")
    add(
        "--time_from_name",
        metavar="PATTERN",
        help="pattern of the times in the files' names, as of strptime: radar_%%Y%%m%%d%%H%%M.h5 "
        "(default: as the files say)",
    )
    add(
        "--minutes",
        type=_positive,
        help="interval of an accumulation in minutes where the files do not say it",
    )
    add(
        "--units",
        choices=(RATE, REFLECTIVITY),
        help="units of the record (default: dBZ if the files have reflectivity, else mm/h)",
    )
    add(
        "--crop",
        type=cli.whole_number(0),
        nargs=4,
        metavar=("TOP", "LEFT", "HEIGHT", "WIDTH"),
        help="take only this part of the published pixels, whose first row is the northern one",
    )
    add(
        "--coarsen",
        type=cli.whole_number(1),
        default=1,
        metavar="N",
        help="make a pixel of N x N: the mean of the rain rates, missing where more than half are "
        "(default: 1)",
    )
    add("--skip_bad", action=cli.Switch, help="leave out files that cannot be used, a line each")
    return parser.parse_args(argv)


def _positive(text):
    """An argparse type: a number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"is {text}: it must be above 0")
    return value


def main(args):
    """Makes the record."""
    settings = {name: getattr(args, name) for name in Choices.__dataclass_fields__}
    make_record(args.source, args.output, Choices(**settings), args.overwrite)


if __name__ == "__main__":
    cli.run(main, parse_args)
