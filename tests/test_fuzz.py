"""Mutated files: each is read, or refused with our own error; none hangs, crashes or eats memory.

100 files of each kind; FUZZ_FILES=400 for a longer run.
"""

import gzip
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src import checkpoint
from src.config.presets import make_config
from src.config.schema import Config, ModelConfig, Stage
from src.data.moving_mnist import SequenceFile, read_idx_images
from src.data.record import Record
from src.errors import InputError
from src.formats.arrays import read_array
from src.formats.options import ReadOptions
from src.model import EncoderForecaster
from src.tools.optimizers import make_optimizer
from src.tools.state import TrainingState

FILES = int(os.environ.get("FUZZ_FILES", 100))
# What reading may take beside twice the file: buffers of 1 MiB, and the objects of small values.
OVERHEAD = 4 << 20

edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "insert", "delete", "cut", "number"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)
# Headers are where the traps are: half of the edits go there.
places = st.booleans()
fuzz = settings(
    max_examples=FILES,
    derandomize=True,
    deadline=5000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def mutate(content, changes, in_header):
    """Applies edits to bytes."""
    content = bytearray(content)
    for kind, where, data in changes:
        at = int(where * min(len(content), 200 if in_header else len(content)))
        if kind == "flip":
            content[at : at + 1] = data[:1]
        elif kind == "insert":
            content[at:at] = data
        elif kind == "delete":
            del content[at : at + len(data)]
        elif kind == "cut":
            del content[at:]
        else:
            content[at : at + 8] = b"\xff" * len(data)
    return bytes(content)


def read(path, content, reader):
    """Reads a file; nothing but our own error may come of it, nor more than twice its size."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        reader(path)
    except InputError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= 2 * len(content) + OVERHEAD


@pytest.fixture(scope="module")
def idx_file(digits):
    return struct.pack(">4I", 2051, 40, 28, 28) + digits[:40].tobytes()


@fuzz
@given(changes=edits, in_header=places)
def test_plain_idx(tmp_path, idx_file, changes, in_header):
    read(tmp_path / "images", mutate(idx_file, changes, in_header), read_idx_images)


@fuzz
@given(changes=edits, in_header=places)
def test_gzip_idx(tmp_path, idx_file, changes, in_header):
    content = mutate(gzip.compress(idx_file, 1), changes, in_header)
    path = tmp_path / "images"
    path.write_bytes(content)
    try:
        size = len(read_idx_images(path)) * 784
    except InputError:
        size = 0
    assert size <= len(idx_file)


@pytest.fixture(scope="module")
def npy_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("npy") / "good.npy"
    np.save(path, np.zeros((20, 2, 8, 8), np.uint8))
    return path.read_bytes()


@fuzz
@given(changes=edits, in_header=places)
def test_npy(tmp_path, npy_file, changes, in_header):
    def reader(path):
        SequenceFile(path, 20, (8, 8))[[0]]

    read(tmp_path / "seq.npy", mutate(npy_file, changes, in_header), reader)


@pytest.fixture(scope="module")
def npz_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("npz") / "good.npz"
    np.savez_compressed(path, np.zeros((20, 2, 8, 8), np.uint8))
    return path.read_bytes()


@fuzz
@given(changes=edits, in_header=places)
def test_npz(tmp_path, npz_file, changes, in_header):
    read(tmp_path / "own.npz", mutate(npz_file, changes, in_header), read_array)


@pytest.fixture(scope="module")
def netcdf_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("netcdf") / "good.nc"
    values = np.random.default_rng(0).random((30, 8, 8), np.float32)
    days = np.array("2001-02-03", "M8[ns]") + np.arange(30) * np.timedelta64(1, "D")
    data = xr.Dataset({"rain": (("time", "y", "x"), values)}, {"time": days})
    data.to_netcdf(path, encoding={"rain": {"zlib": True}})
    return path.read_bytes()


@fuzz
@given(changes=edits, in_header=places)
@pytest.mark.filterwarnings("ignore")
def test_netcdf(tmp_path, netcdf_file, changes, in_header):
    def reader(path):
        record = Record(path, ReadOptions())
        record.read(0, len(record))

    read(tmp_path / "rain.nc", mutate(netcdf_file, changes, in_header), reader)


@pytest.fixture(scope="module")
def checkpoint_file(tmp_path_factory):
    config = make_config("small", {"image_size": (32, 32)})
    network = EncoderForecaster(ModelConfig(stages=(Stage(2),), patch_size=8), 1)
    path = tmp_path_factory.mktemp("checkpoint") / "good.ckpt"
    state = TrainingState(3).to_dict()
    checkpoint.save(path, network, make_optimizer(network, config.training), config, state)
    return path.read_bytes()


def load(path):
    """Reads a checkpoint and the training state in it."""
    TrainingState.from_checkpoint(checkpoint.load(path))


@fuzz
@given(changes=edits, in_header=places)
def test_checkpoint(tmp_path, checkpoint_file, changes, in_header):
    read(tmp_path / "bad.ckpt", mutate(checkpoint_file, changes, in_header), load)


@fuzz
@given(changes=edits, in_header=places)
def test_checkpoint_with_a_right_checksum(tmp_path, checkpoint_file, changes, in_header):
    """What a damaged writer, or somebody with ill will, could leave."""
    body = mutate(checkpoint_file[:-17], changes, in_header)
    content = body + b"crc_num" + zlib.crc32(body).to_bytes(10, "big")
    read(tmp_path / "bad.ckpt", content, load)


@fuzz
@given(changes=edits, in_header=places)
def test_configuration(tmp_path, changes, in_header):
    text = make_config("multiscale", {"num_digits": (2, 3)}).to_json().encode()
    content = mutate(text, changes, in_header)
    read(tmp_path / "config.json", content, lambda path: Config.from_json(path.read_bytes()))
