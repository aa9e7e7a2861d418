"""Published files become one record by the CF conventions, or a line says what is wrong."""

import os
from pathlib import Path

import numpy as np
import pysteps
import pytest
import xarray
from compliance_checker.runner import CheckSuite, ComplianceChecker

from src.errors import DiskError, InputError
from src.formats.options import ReadOptions
from src.formats.readers import open_readers
from src.radar.maker import Choices, make_record
from src.radar.record_file import RecordFile
from tests.radar import published_files
from tests.scripts.conftest import run_here

SHAPE = 9, 11
# Beside the repository, if they are there: 92 composites of KNMI, 2010-08-26.
NEAR = [folder / "shared/data/radar/knmi" for folder in Path(__file__).resolve().parents]
KNMI = next(filter(Path.is_dir, NEAR), None)


@pytest.fixture
def raw(rng):
    """Five frames of hundredths of a millimetre; the western columns are outside the composite."""
    values = rng.integers(0, 200, (5, *SHAPE)).astype(np.uint16)
    values[:, :, :2] = 65535
    return values


@pytest.fixture
def folder(tmp_path, raw):
    """The frames as files of KNMI, five minutes apart; the names are in another order."""
    folder = tmp_path / "published"
    folder.mkdir()
    for k, frame in enumerate(raw):
        write(folder / f"{9 - k}.h5", frame, 5 * k)
    return folder


def write(path, frame, minute):
    times = (f"26-AUG-2010;05:{m:02}:00.000" for m in (minute, minute + 5))
    published_files.knmi(path, frame, *times)


def rates(raw):
    return np.where(raw == 65535, np.nan, raw / 100) / 5 * 60


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_a_record_by_the_conventions(folder, tmp_path, raw, name, capsys):
    """Rates, times, coordinates and projection; packed, compressed, a few frames a chunk."""
    make_record(str(folder), tmp_path / name)
    with xarray.open_dataset(tmp_path / name, decode_coords="all") as dataset:
        rain = dataset["rainfall_rate"]
        np.testing.assert_allclose(rain, rates(raw), atol=1e-4)
        assert rain.dims == ("time", "y", "x")
        assert rain.attrs["units"] == "mm h-1"
        assert rain.attrs["standard_name"] == "rainfall_rate"
        minutes = np.diff(dataset["time"].values) / np.timedelta64(1, "m")
        assert dataset["time"].values[0] == np.datetime64("2010-08-26T05:05")
        assert (minutes == 5).all()
        assert dataset["crs"].attrs["grid_mapping_name"] == "polar_stereographic"
        assert dataset["crs"].attrs["latitude_of_projection_origin"] == 90
        assert rain.encoding["grid_mapping"] == "crs"
        for axis, first in (("x", 500), ("y", -3650500)):
            assert dataset[axis].attrs["standard_name"] == f"projection_{axis}_coordinate"
            assert dataset[axis].attrs["units"] == "m"
            assert dataset[axis].values[0] == first
        assert rain.encoding["dtype"] == np.int16
    assert "5 frames of 9x11 pixels of 1 km, mm h-1, 2010-08-26T05:05:00" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "published"])


def test_a_record_beside_its_files(folder, raw):
    """Made once more, it is none of the files that it is made of."""
    for _ in range(2):
        make_record(str(folder), folder / "a.nc", overwrite=True)
    make_record(str(folder.parent / "publ*"), folder / "a.nc", overwrite=True)
    with xarray.open_dataset(folder / "a.nc") as dataset:
        assert dataset.sizes["time"] == len(raw)


def test_a_folder_with_texts_and_folders(folder, tmp_path, raw, capsys):
    """As services deliver: a folder a day, a read-me, a list of sums, hidden files."""
    (folder / "2010").mkdir()
    (folder / "8.h5").rename(folder / "2010" / "8.h5")
    for name in ("README.md", "2010/files.MD5", "._9.h5", ".DS_Store"):
        (folder / name).write_text("about")
    make_record(str(folder), tmp_path / "a.nc")
    with xarray.open_dataset(tmp_path / "a.nc") as dataset:
        assert dataset.sizes["time"] == len(raw)
    printed = capsys.readouterr().out
    assert f"left out, as no composites: {folder / 'README.md'}, " in printed
    assert "DS_Store" not in printed


def test_the_project_reads_it(folder, tmp_path, raw):
    make_record(str(folder), tmp_path / "a.nc")
    reader = open_readers(tmp_path / "a.nc", ReadOptions())[0]
    np.testing.assert_allclose(reader.read(1, 3)[:, 0], rates(raw)[1:3], atol=1e-4)
    assert reader.grid.units == "mm h-1"


def test_thresholds_are_met_exactly(folder, tmp_path):
    """A rate of 0.6, 1.2 or 12 mm/h is at or above that number after packing, in float32."""
    for k, hundredths in enumerate((5, 10, 100)):
        write(folder / f"{9 - k}.h5", np.full(SHAPE, hundredths, np.uint16), 5 * k)
    make_record(str(folder), tmp_path / "a.nc")
    with xarray.open_dataset(tmp_path / "a.nc") as dataset:
        first = dataset["rainfall_rate"].values[:3, 0, 0].astype(np.float32)
    np.testing.assert_array_equal(first, np.array([0.6, 1.2, 12], np.float32))


def test_it_complies(folder, tmp_path):
    """The checker of the CF conventions has nothing to say."""
    make_record(str(folder), tmp_path / "a.nc")
    CheckSuite.load_all_available_checkers()
    report = tmp_path / "report.txt"
    passed, errors = ComplianceChecker.run_checker(
        str(tmp_path / "a.nc"), ["cf:1.8"], 0, "strict", output_filename=str(report)
    )
    assert not errors
    assert passed, report.read_text()


def test_coarsened_is_the_mean_of_what_is_known(folder, tmp_path, raw):
    """9x11 by 3 is 3x3; two columns of the western pixels are missing, more than half of nine."""
    make_record(str(folder), tmp_path / "a.nc", Choices(coarsen=3))
    blocks = rates(raw)[:, :, :9].reshape(5, 3, 3, 3, 3)
    expected = np.nanmean(np.where(np.isfinite(blocks), blocks, np.nan)[:, :, :, 1:], (2, 4))
    with xarray.open_dataset(tmp_path / "a.nc") as dataset:
        values = dataset["rainfall_rate"].values
        np.testing.assert_allclose(dataset["x"], [1500, 4500, 7500])
    assert np.isnan(values[:, :, 0]).all()
    np.testing.assert_allclose(values[:, :, 1:], expected, atol=0.0051)


def test_half_missing_is_known(folder, tmp_path, raw):
    """Of a crop from column 1 on, two of four pixels are missing: the mean is of the others."""
    make_record(str(folder), tmp_path / "a.nc", Choices(coarsen=2, crop=(0, 1, 8, 10)))
    with xarray.open_dataset(tmp_path / "a.nc") as dataset:
        values = dataset["rainfall_rate"].values
    first = rates(raw)[:, :8, 2].reshape(5, 4, 2).mean(2)
    np.testing.assert_allclose(values[:, :, 0], first, atol=0.0051)
    assert values.shape == (5, 4, 5)


def test_reflectivity_is_averaged_as_rain(tmp_path):
    """Z = 223 R^1.53 of FMI: the mean of 20 and 40 dBZ is that of their rain rates."""
    raw = np.full((2, 4), 2 * 20 + 64)
    raw[:, ::2] = 2 * 40 + 64
    published_files.fmi(tmp_path / "a.pgm", raw)
    make_record(str(tmp_path / "a.pgm"), tmp_path / "a.nc", Choices(coarsen=2))
    mean = np.mean([(10 ** (dbz / 10) / 223) ** (1 / 1.53) for dbz in (20, 40)])
    with xarray.open_dataset(tmp_path / "a.nc") as dataset:
        values = dataset["equivalent_reflectivity_factor"]
        np.testing.assert_allclose(values, 10 * np.log10(223 * mean**1.53), atol=0.0051)
        assert values.attrs["units"] == "dBZ"
    make_record(str(tmp_path / "a.pgm"), tmp_path / "b.nc", Choices(coarsen=2, units="mm/h"))
    with xarray.open_dataset(tmp_path / "b.nc") as dataset:
        np.testing.assert_allclose(dataset["rainfall_rate"], mean, atol=0.0051)


def damage(folder):
    (folder / "7.h5").write_bytes((folder / "7.h5").read_bytes()[:3000])


def other_grid(folder):
    write(folder / "7.h5", np.zeros((9, 12), np.uint16), 10)


def other_interval(folder):
    times = ("26-AUG-2010;05:00:00.000", "26-AUG-2010;05:15:00.000")
    published_files.knmi(folder / "7.h5", np.zeros(SHAPE, np.uint16), *times)


def duplicate(folder):
    write(folder / "7.h5", np.zeros(SHAPE, np.uint16), 15)


def other_kind(folder):
    (folder / "7.h5").write_text("<html>404: not found</html>")


WRONG = [
    (damage, r"7\.h5: cannot be read"),
    (other_grid, r"7\.h5: has 9x12 pixels, not 9x11, as .*9\.h5 has"),
    (other_interval, r"7\.h5: has amounts of 15 minutes, not 5 minutes, as .*9\.h5 has"),
    (duplicate, r"7\.h5: has the time 2010-08-26T05:20:00, as .*6\.h5 has"),
    (other_kind, r"7\.h5: has no format that is known"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_one_wrong_file_is_named_or_left_out(folder, tmp_path, wrong, message, capsys):
    """Nothing is written for it; with --skip_bad the other four make a record, with a gap."""
    wrong(folder)
    with pytest.raises(InputError, match=message) as error:
        make_record(str(folder), tmp_path / "a.nc")
    assert "--skip_bad" in error.value.text_for(["--skip_bad"])
    assert [path.name for path in tmp_path.iterdir()] == ["published"]
    make_record(str(folder), tmp_path / "a.nc", Choices(skip_bad=True))
    with xarray.open_dataset(tmp_path / "a.nc") as dataset:
        assert dataset.sizes["time"] == 4
    output = capsys.readouterr()
    assert output.err.count("left out: ") == 1
    assert "1 gaps between the times" in output.out
    assert "1 files are left out" in output.out


def test_the_script(folder, tmp_path):
    """It says what it made; what it cannot read is one line and exit code 2."""
    command = ["scripts/make_record.py", folder, "--output", tmp_path / "a.nc", "--coarsen", 3]
    output = run_here(*command)
    assert f"{tmp_path / 'a.nc'}: 5 frames of 3x3 pixels of 3 km, mm h-1" in output.stdout
    assert "Pysteps" not in output.stdout
    damage(folder)
    line = run_here(*command, "--overwrite", expect=2).stderr.splitlines()[-1]
    assert line.startswith(f"make_record.py: {folder / '7.h5'}: cannot be read")
    assert line.endswith("; --skip_bad leaves out files that cannot be used")


def test_amounts_of_unknown_interval_are_asked_about(tmp_path):
    path = tmp_path / "AQC.gif"
    published_files.swiss(path, np.full(published_files.SWISS_SHAPE, 100))
    choices = Choices(time_from_name="AQC", coarsen=160)
    with pytest.raises(InputError, match="it has no year"):
        make_record(str(path), tmp_path / "a.nc", choices)
    path = path.rename(tmp_path / "AQC 2020-01-01.gif")
    choices = Choices(time_from_name="%Y-%m-%d", coarsen=160)
    with pytest.raises(InputError, match="of an interval that it does not say"):
        make_record(str(path), tmp_path / "a.nc", choices)
    make_record(str(path), tmp_path / "a.nc", Choices(time_from_name="%Y-%m-%d", minutes=10))
    with xarray.open_dataset(tmp_path / "a.nc") as dataset:
        amount = (10 ** (28.5 / 20) / 316) ** (2 / 3)
        np.testing.assert_allclose(dataset["rainfall_rate"], 6 * amount, atol=0.0051)


def test_a_record_of_a_record(folder, tmp_path, raw):
    """What is CF already goes through once more, as units, grid and times say."""
    make_record(str(folder), tmp_path / "a.nc")
    make_record(str(tmp_path / "a.nc"), tmp_path / "b.zarr")
    make_record(str(tmp_path / "b.zarr"), tmp_path / "c.nc", Choices(crop=(1, 3, 2, 2)))
    with xarray.open_dataset(tmp_path / "c.nc") as dataset:
        np.testing.assert_allclose(dataset["rainfall_rate"], rates(raw)[:, 1:3, 3:5], atol=1e-4)
        assert dataset["crs"].attrs["grid_mapping_name"] == "polar_stereographic"
        np.testing.assert_array_equal(dataset["y"], [-3651500, -3652500])


def test_what_exists_is_kept(folder, tmp_path):
    """Also if the work is broken off, be the record a file or a folder."""
    for name in ("a.nc", "a.zarr"):
        make_record(str(folder), tmp_path / name, Choices(crop=(0, 3, 2, 2)))
        with pytest.raises(InputError, match="exists already: use --overwrite"):
            make_record(str(folder), tmp_path / name)
        good = (folder / "5.h5").read_bytes()
        (folder / "5.h5").write_bytes(good[:4000])
        with pytest.raises(InputError, match="cannot be read"):
            make_record(str(folder), tmp_path / name, overwrite=True)
        (folder / "5.h5").write_bytes(good)
        with xarray.open_dataset(tmp_path / name) as dataset:
            assert dataset.sizes["x"] == 2
        make_record(str(folder), tmp_path / name, overwrite=True)
        with xarray.open_dataset(tmp_path / name) as dataset:
            assert dataset.sizes["x"] == 11
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a.nc", "a.zarr", "published"]


def test_a_full_disk(folder, monkeypatch):
    """/dev/full takes nothing: the record fails with a line."""

    def full(record):
        record.unfinished = Path("/dev/full")

    enter = RecordFile.__enter__
    monkeypatch.setattr(RecordFile, "__enter__", lambda self: (enter(self), full(self))[0])
    monkeypatch.setattr(RecordFile, "_remove", staticmethod(lambda path: None))
    with pytest.raises(DiskError, match="cannot be written"):
        make_record(str(folder), folder.parent / "a.nc")


def test_a_value_that_does_not_fit_is_counted(tmp_path, capsys):
    """30 mm in 5 minutes are 360 mm/h; 327.67 is the largest number."""
    write(tmp_path / "a.h5", np.full(SHAPE, 3000, np.uint16), 0)
    make_record(str(tmp_path / "a.h5"), tmp_path / "a.nc")
    assert "99 values are beyond 327.67 and stored as that" in capsys.readouterr().out


@pytest.mark.skipif(KNMI is None, reason="shared/data/radar/knmi is not there")
def test_real_composites(tmp_path):
    """Each frame is pysteps's own, as a rate, and its blocks' means are those of the known."""
    make_record(str(KNMI / "*0826053[05]*.h5"), tmp_path / "a.nc")
    make_record(str(KNMI / "*0826053[05]*.h5"), tmp_path / "b.nc", Choices(coarsen=7))
    path = os.fspath(KNMI / "RAD_NL25_RAP_5min_201008260535.h5")
    amounts, _, _ = pysteps.io.importers.import_knmi_hdf5(path)
    expected = amounts / 5 * 60
    with xarray.open_dataset(tmp_path / "a.nc") as dataset:
        np.testing.assert_allclose(dataset["rainfall_rate"][1], expected, atol=1e-4)
        assert dataset["time"].values[1] == np.datetime64("2010-08-26T05:35")
    blocks = expected[:763].reshape(109, 7, 100, 7).transpose(0, 2, 1, 3).reshape(109, 100, 49)
    few = np.isnan(blocks).sum(2) > 24
    sums = np.nansum(blocks, 2) / np.maximum(np.isfinite(blocks).sum(2), 1)
    with xarray.open_dataset(tmp_path / "b.nc") as dataset:
        values = dataset["rainfall_rate"].values[1]
    np.testing.assert_allclose(values, np.where(few, np.nan, sums), atol=0.0051)
