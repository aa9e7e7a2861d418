"""Settings of how own data are read: which kind of data can follow which."""

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from src.data.own_data import check_reading
from src.errors import InputError

OF_NAMES = ("variable", "group", "time", "latitude", "longitude")
SETTINGS = dict.fromkeys((*OF_NAMES, "time_from_name", "nodata", "axes"), None)
FOLLOWED = {
    "a.nc": (*OF_NAMES, "time_from_name", "nodata"),
    "z.zarr": (*OF_NAMES, "time_from_name", "nodata"),
    "a.npy": ("time_from_name", "nodata", "axes"),
    "pictures": ("nodata",),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a record of each kind, and one of pictures."""
    path = tmp_path_factory.mktemp("own")
    frames = np.zeros((3, 4, 5), np.float32)
    record = xr.Dataset({"rain": (("time", "lat", "lon"), frames)})
    record.to_netcdf(path / "a.nc")
    record.to_zarr(path / "z.zarr", zarr_format=2)
    np.save(path / "a.npy", frames)
    (path / "pictures").mkdir()
    Image.new("L", (4, 4)).save(path / "pictures" / "1.png")
    return path


@pytest.mark.parametrize("name", FOLLOWED)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_that_data_cannot_follow(folder, name, setting):
    given = SETTINGS | {setting: "x", "any_step": True}
    if setting in FOLLOWED[name]:
        check_reading(folder / name, given)
    else:
        with pytest.raises(InputError, match=f"{name}: .*; leave --{setting} out"):
            check_reading(folder / name, given)


@pytest.mark.parametrize("name", ["a.nc", "a.npy"])
def test_pictures_beside_a_record(folder, tmp_path, name):
    """Previews do not make a record one of pictures: it follows what its files can."""
    for file in (folder / name, folder / "pictures" / "1.png"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    for setting in SETTINGS:
        if setting in FOLLOWED[name]:
            check_reading(tmp_path, SETTINGS | {setting: "x"})
        else:
            with pytest.raises(InputError, match=f"leave --{setting} out"):
                check_reading(tmp_path, SETTINGS | {setting: "x"})


def test_every_such_setting_is_named(folder):
    given = SETTINGS | {"variable": "rain", "time": "t"}
    with pytest.raises(InputError, match="a.npy: .* no names; leave --time and --variable out"):
        check_reading(folder / "a.npy", given)
