"""Weights from elsewhere forecast the same here, and the same there after the way back."""

import pickle
import sys

import mindspore as ms
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from src import checkpoint
from src.config import cli
from src.config.presets import make_config
from src.convert import conversion, layout, pytorch
from src.errors import InputError
from src.model import EncoderForecaster
from src.tools import new_run, start
from tests.published_networks import Published2020, Published2022
from tests.scripts.conftest import run

STEPS = 3


def strong(network, seed=0):
    """Random weights of which every one has a say in the output."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(0.5 * noise if p.dim() == 1 else 2 * noise / p[0].numel() ** 0.5)
    return network


@pytest.fixture(scope="module")
def theirs():
    return strong(Published2020())


@pytest.fixture(scope="module")
def converted(theirs, tmp_path_factory):
    """A checkpoint, by the script, from a file as the PyTorch network's own training writes it."""
    folder = tmp_path_factory.mktemp("there and here")
    file, path = folder / "checkpoint_9_0.001.pth.tar", folder / "a folder" / "here.ckpt"
    state = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-4).state_dict()
    torch.save({"epoch": 9, "state_dict": state, "optimizer": adam}, file)
    output = run("scripts/convert_pytorch.py", file, path).stdout
    assert "8,110,625 parameters" in output
    assert "921,600 of the 9,032,225 parameters" in output
    return path


def assert_same_forecasts(path, network):
    """Here and there, on small frames, to 1e-5 where the forecasts are far from 0."""
    inputs = np.random.default_rng(0).random((2, STEPS, 1, 16, 24), np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(inputs), STEPS).numpy()
    loaded = checkpoint.load(path)
    ours = loaded.network(STEPS)
    assert expected.std() > 0.03
    np.testing.assert_allclose(ours(ms.Tensor(inputs)).asnumpy(), expected, rtol=0, atol=1e-5)


def test_from_pytorch(converted, theirs):
    config = checkpoint.load(converted).config
    assert (
        config.model
        == make_config(
            "multiscale", {"output_activation": "leaky_relu", "output_kernel_size": 1}
        ).model
    )
    assert_same_forecasts(converted, theirs)


def test_training_starts_from_it_and_does_not_resume(converted):
    args = cli.Parser("")
    cli.add_config_flags(args)
    loaded = checkpoint.load(converted)
    config, _ = new_run.new_config(start.given_flags(args.parse_args([])), "CPU", loaded)
    checkpoint.check_same_network(loaded, config)
    with pytest.raises(InputError, match="start from it with --pretrained_model"):
        start.resumed_config(loaded, {})


@pytest.mark.parametrize("suffix", [".pth", ".pth.tar", ".safetensors"])
def test_back_to_pytorch(converted, theirs, tmp_path, suffix):
    """The published network loads it strictly; only the weights of the zero input are others."""
    file = tmp_path / f"back{suffix}"
    assert "9,032,225 parameters" in conversion.to_pytorch(converted, file)
    back = Published2020()
    if suffix == ".safetensors":
        arrays = pytorch.read(file)
        state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    else:
        state = torch.load(file, weights_only=True)
    if suffix == ".pth.tar":
        torch.optim.Adam(back.parameters()).load_state_dict(state["optimizer"])
        assert state["epoch"] == 0
        state = state["state_dict"]
    back.load_state_dict(state, strict=True)
    top = "decoder.rnn3.conv.0.weight"
    for name, tensor in theirs.state_dict().items():
        if name == top:
            assert not state[top][:, :96].any()
            tensor, state[top] = tensor[:, 96:], state[top][:, 96:]
        assert torch.equal(state[name], tensor), name


@pytest.fixture(scope="module")
def file_of_2022(tmp_path_factory):
    """A checkpoint by MindSpore's own writer, with all that the 2022 training kept; its network."""
    network = strong(Published2022())
    entries = dict(network.mindspore_entries())
    assert sum(array.size for array in entries.values()) == 9_029_920
    entries |= {f"moment1.{name}": array for name, array in entries.items()}
    for name in ("learning_rate", "beta1_power", "beta2_power", "scale_sense"):
        entries[name] = np.float32(0.5)
    entries["global_step"] = np.array([7], np.int32)
    path = tmp_path_factory.mktemp("2022") / "lstm-1_1.ckpt"
    content = [{"name": name, "data": ms.Tensor(array)} for name, array in entries.items()]
    ms.save_checkpoint(content, str(path))
    return path, network


def test_from_2022(file_of_2022, tmp_path):
    """And a 3x3 last kernel stays one on its way to PyTorch, which is told."""
    file, network = file_of_2022
    path = tmp_path / "2022.ckpt"
    arrays, left_out = conversion.read_2022(file)
    assert len(arrays) == 25
    assert len(left_out) == 30
    message = conversion.to_checkpoint(layout.MINDSPORE_2022, arrays, file, path)
    assert "921,600 of the 9,029,920 parameters" in message
    assert_same_forecasts(path, network)
    message = conversion.to_pytorch(path, tmp_path / "2022.pth")
    assert "'conv4_leaky_1': [16, 1, 3, 1, 1]" in message
    back = Published2020(last_kernel_size=3)
    back.load_state_dict(torch.load(tmp_path / "2022.pth", weights_only=True), strict=True)


def fresh(preset, folder):
    """A checkpoint of a preset's start weights."""
    config = make_config(preset, {})
    network = EncoderForecaster(config.model, 1)
    weights = {p.name: p.asnumpy() for p in network.get_parameters()}
    path = folder / f"{preset}.ckpt"
    checkpoint.save_weights(path, checkpoint.Checkpoint(path, config, weights, {}, {}))
    return path


def test_a_network_of_other_output_goes_with_a_warning(tmp_path):
    """A checkpoint of this project's recipe ends with a sigmoid, which PyTorch's side has not."""
    message = conversion.to_pytorch(fresh("multiscale", tmp_path), tmp_path / "ours.pth")
    assert "ends with sigmoid, the PyTorch network with LeakyReLU 0.2" in message


TOP_BIAS = "encoder.rnn1.conv.0.bias"
WRONG_ARRAYS = {
    "missing": (
        lambda a: {k: v for k, v in a.items() if k != "decoder.rnn2.conv.1.bias"},
        "lacks 1 parameters, the first is decoder.rnn2.conv.1.bias (384,)",
    ),
    "surplus": (
        lambda a: a | {"decoder.rnn4.conv.0.bias": np.zeros(7)},
        "has 1 parameters that the network lacks, the first is decoder.rnn4.conv.0.bias (7,)",
    ),
    "shape": (
        lambda a: a | {TOP_BIAS: np.zeros(128)},
        f"{TOP_BIAS} has the shape (128,), and (256,) is needed",
    ),
    "nan": (lambda a: a | {TOP_BIAS: np.full(256, np.nan)}, f"{TOP_BIAS} is not finite"),
    "empty": (lambda a: {}, "lacks 38 parameters"),
}


@pytest.mark.parametrize("kind", WRONG_ARRAYS)
def test_parameters_of_another_network(theirs, tmp_path, kind):
    make, message = WRONG_ARRAYS[kind]
    arrays = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    file, target = tmp_path / "there.pth", tmp_path / "here.ckpt"
    with pytest.raises(InputError) as caught:
        conversion.to_checkpoint(layout.PYTORCH, make(arrays), file, target)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)
    assert not target.exists()


WRONG_CONTENT = {
    "number": ({"epoch": 3}, "holds a int at 'epoch'"),
    "whole numbers": ({"n": torch.tensor(3)}, "n is of torch.int64"),
    "twice": ({"module.a": torch.zeros(2), "a": torch.zeros(2)}, "holds a twice"),
    "no dict": (torch.zeros(3), "holds a Tensor, where a state dict is needed"),
}


@pytest.mark.parametrize("kind", WRONG_CONTENT)
def test_a_file_of_something_else(tmp_path, kind):
    content, message = WRONG_CONTENT[kind]
    file = tmp_path / "there.pth"
    torch.save({"state_dict": content} if isinstance(content, dict) else content, file)
    with pytest.raises(InputError, match=message) as caught:
        pytorch.read(file)
    assert str(caught.value).startswith(f"{file}: ")


class Malicious:
    """Whoever unpickles it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def unreadable_files(folder):
    """Files that are none, by the message that each gets."""
    content = {"state_dict": Malicious(folder / "it ran")}
    torch.save(content, folder / "objects.pth")
    yield "objects.pth", "holds Python objects, which may run code"
    (folder / "old.pth").write_bytes(pickle.dumps(content, 2))
    yield "old.pth", "holds Python objects, which may run code"
    (folder / "cut.pth").write_bytes((folder / "objects.pth").read_bytes()[:-100])
    yield "cut.pth", "not a readable PyTorch file"
    (folder / "text.pth").write_text("weights")
    yield "text.pth", "not a readable PyTorch file"
    (folder / "nothing.pth").write_bytes(b"")
    yield "nothing.pth", "not a readable PyTorch file"
    (folder / "text.safetensors").write_text("weights")
    yield "text.safetensors", "not a readable safetensors file"
    yield "missing.pth", "cannot be read: No such file"
    yield "missing.safetensors", "cannot be read: No such file"
    (folder / "folder.pth").mkdir()
    yield "folder.pth", "cannot be read: Is a directory"


def test_files_that_are_none(tmp_path):
    for name, message in unreadable_files(tmp_path):
        with pytest.raises(InputError, match=message) as caught:
            pytorch.read(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert not (tmp_path / "it ran").exists()


def test_half_precision_weights(theirs, tmp_path):
    """bfloat16, which NumPy does not know."""
    file = tmp_path / "half.safetensors"
    half = {name: tensor.bfloat16() for name, tensor in theirs.state_dict().items()}
    save_file(half, file)
    for name, array in pytorch.read(file).items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, half[name].float().numpy())


def test_other_checkpoints_are_refused(converted, file_of_2022, tmp_path):
    """Each way round names the first parameter that is out of place."""
    arrays, _ = conversion.read_2022(file_of_2022[0])
    del arrays["dn_rnn3.gro.gamma"]
    with pytest.raises(InputError, match=r"lacks 1 .* first is dn_rnn3.gro.gamma \(256,\)"):
        conversion.to_checkpoint(
            layout.MINDSPORE_2022, arrays, file_of_2022[0], tmp_path / "x.ckpt"
        )
    arrays, _ = conversion.read_2022(converted)
    with pytest.raises(InputError, match=r"has 42 parameters .* encoder_convs.0.0.weight"):
        conversion.to_checkpoint(layout.MINDSPORE_2022, arrays, converted, tmp_path / "x.ckpt")
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(converted.read_bytes()[:-3000])
    with pytest.raises(InputError, match="not a protobuf message"):
        conversion.read_2022(damaged)
    with pytest.raises(InputError, match="is IN; name another file as OUT"):
        conversion.check_output(converted, converted)
    with pytest.raises(InputError, match="OUT has to end with .pth, .pt, .tar or .safetensors"):
        conversion.to_pytorch(converted, tmp_path / "x.ckpt")


def test_other_presets_do_not_go_to_pytorch(tmp_path):
    file = tmp_path / "x.pth"
    with pytest.raises(InputError, match="is of preset small, and the PyTorch network is multisc"):
        conversion.to_pytorch(fresh("small", tmp_path), file)
    assert not file.exists()


@pytest.mark.parametrize(
    ("name", "package"), [("a.pth", "torch"), ("a.safetensors", "safetensors")]
)
def test_a_package_that_is_missing(tmp_path, monkeypatch, name, package):
    (tmp_path / name).write_bytes(b"some")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"^{package} is missing: pip install {package}"):
        pytorch.read(tmp_path / name)
