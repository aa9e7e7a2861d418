"""Small files as weather services publish them."""

import gzip

import h5py
import netCDF4
import numpy as np
from PIL import Image

# MeteoSwiss's composites have one grid, 710 by 640 km.
SWISS_SHAPE = 640, 710
KNMI_KM = "+proj=stere +lat_0=90 +lon_0=0.0 +lat_ts=60.0 +a=6378.137 +b=6356.752 +x_0=0 +y_0=0"
KNMI_OLD = "+proj=stere +lat_0=90 +lon_0=0 +lat_ts=60 +a=6378.14 +b=6356.75 +x_0=0 y_0=0"
LAEA = "+proj=laea +lat_0=55.0 +lon_0=10.0 +x_0=1950000.0 +y_0=-2100000.0 +units=m +ellps=WGS84"


def knmi(
    path,
    raw,
    start="26-AUG-2010;05:30:00.000",
    end="26-AUG-2010;05:35:00.000",
    parameter="ACCUMULATED_PRECIPITATION_[MM]",
    formula="GEO=0.01*PV+0.0",
    outside=65535,
    projection=KNMI_KM,
):
    """Raw numbers (H, W), in hundredths of a millimetre, on a polar stereographic grid in km."""
    with h5py.File(path, "w") as file:
        overview = file.create_group("overview")
        overview.attrs["product_datetime_start"] = [np.bytes_(start)]
        overview.attrs["product_datetime_end"] = [np.bytes_(end)]
        image = file.create_group("image1")
        image.attrs["image_geo_parameter"] = np.bytes_(parameter)
        image["image_data"] = raw
        calibration = image.create_group("calibration")
        calibration.attrs["calibration_formulas"] = np.bytes_(formula)
        calibration.attrs["calibration_out_of_image"] = np.array([outside], np.int32)
        place = file.create_group("geographic")
        place.attrs["geo_dim_pixel"] = np.bytes_("KM,KM")
        place.attrs["geo_pixel_size_x"] = np.array([1], np.float32)
        place.attrs["geo_pixel_size_y"] = np.array([-1], np.float32)
        place.attrs["geo_column_offset"] = np.array([0], np.float32)
        place.attrs["geo_row_offset"] = np.array([3650], np.float32)
        place.attrs["geo_number_rows"] = np.array([raw.shape[0]], np.int32)
        place.attrs["geo_number_columns"] = np.array([raw.shape[1]], np.int32)
        about = place.create_group("map_projection").attrs
        about["projection_proj4_params"] = np.bytes_(projection)


def odim(path, raw, quantity="RATE", minutes=15, text=np.bytes_, kind="COMP", more=()):
    """Raw numbers (H, W) that times 0.1 are values; 0 is no echo and 255 no data; 2 km pixels."""
    import pyproj

    rows, columns = raw.shape
    west, north = 1_000_000.0, -1_000_000.0
    east, south = west + 2000 * columns, north - 2000 * rows
    geographic = pyproj.Proj(LAEA)
    with h5py.File(path, "w") as file:
        file.attrs["Conventions"] = text("ODIM_H5/V2_2")
        what = file.create_group("what").attrs
        what["object"], what["source"] = text(kind), text("ORG:247")
        what["date"], what["time"] = text("20160928"), text("160000")
        where = file.create_group("where").attrs
        where["projdef"] = text(LAEA)
        where["xscale"] = where["yscale"] = 2000.0
        for corner, place in {
            "LL": (west, south),
            "LR": (east, south),
            "UL": (west, north),
            "UR": (east, north),
        }.items():
            where[f"{corner}_lon"], where[f"{corner}_lat"] = geographic(*place, inverse=True)
        for k, name in enumerate((quantity, *more), 1):
            dataset = file.create_group(f"dataset{k}")
            about = dataset.create_group("what").attrs
            about["startdate"], about["starttime"] = text("20160928"), text(f"15{60 - minutes}00")
            about["enddate"], about["endtime"] = text("20160928"), text("160000")
            data = dataset.create_group("data1")
            about = data.create_group("what").attrs
            about["quantity"], about["gain"], about["offset"] = text(name), 0.1, 0.0
            about["nodata"], about["undetect"] = 255.0, 0.0
            data["data"] = raw


def swiss(path, numbers):
    """Numbers (640, 710), indices of the palette of MeteoSwiss's rain rates."""
    from pysteps.io import importers

    table = importers.__file__.replace("importers.py", "mch_lut_8bit_Metranet_v103.txt")
    table = np.genfromtxt(table, skip_header=1)
    picture = Image.fromarray(numbers.astype(np.uint8), "P")
    picture.putpalette(table[:, 1:4].astype(np.uint8).tobytes())
    picture.save(path, optimize=False)
    return table[:, -1]


def fmi(path, raw, missing=255, zipped=False, parameter="CorrectedReflectivity"):
    """Raw numbers (H, W) of 8 bits: dBZ = (raw - 64) / 2, on pixels of FMI's composite."""
    import pyproj

    rows, columns = raw.shape
    projection = pyproj.Proj(
        "+proj=stere +lon_0=25E +lat_0=90N +lat_ts=60 +a=6371288 +x_0=380886.310 +y_0=3395677.920"
    )
    low, high = (
        projection(x, y, inverse=True) for x, y in ((0, 0), (999.67 * columns, 999.67 * rows))
    )
    header = (
        f"P5\n# obstime 201609281600\n# param {parameter}\n# projection radar {{\n"
        "# type stereographic\n# centrallongitude 25\n# centrallatitude 90\n# truelatitude 60\n"
        f"# bottomleft {low[0]:.9f} {low[1]:.9f}\n# topright {high[0]:.9f} {high[1]:.9f}\n# }}\n"
        "# metersperpixel_x 999.67\n# metersperpixel_y 999.67\n"
        f"{columns} {rows}\n{missing}\n"
    )
    with (gzip.open if zipped else open)(path, "wb") as file:
        file.write(header.encode() + raw.astype(np.uint8).tobytes())


def bom(path, amounts, minutes=6, units="mm", descending=True):
    """Amounts (H, W) in mm, NaN where missing, on 1 km pixels of an Albers projection."""
    rows, columns = amounts.shape
    with netCDF4.Dataset(path, "w") as file:
        y = 500.5 + np.arange(rows)
        for name, values in {"y": y[::-1] if descending else y, "x": np.arange(columns)}.items():
            file.createDimension(name, len(values))
            variable = file.createVariable(name, "f4", (name,))
            variable.units, variable[:] = "km", values
        for name, seconds in (
            ("start_time", 1475078400 - 60 * minutes),
            ("valid_time", 1475078400),
        ):
            time = file.createVariable(name, "i4")
            time.units, time[...] = "seconds since 1970-01-01 00:00:00 UTC", seconds
        projection = file.createVariable("proj", "i1")
        projection.grid_mapping_name = "albers_conical_equal_area"
        projection.standard_parallel = [-18.0, -36.0]
        projection.longitude_of_central_meridian = 145.0
        projection.latitude_of_projection_origin = -33.0
        rain = file.createVariable("precipitation", "i2", ("y", "x"), fill_value=-1)
        rain.units, rain.scale_factor, rain.grid_mapping = units, 0.05, "proj"
        rain[:] = np.ma.masked_array(np.nan_to_num(amounts), np.isnan(amounts))
