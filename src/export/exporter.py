"""Exports networks to MINDIR or ONNX and checks the file's output; to AIR on an Ascend."""

from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from src import checkpoint
from src.errors import ExportError, InputError
from src.runtime.files import check_writable, is_no_file, scratch_folder, write_atomically

FORMATS = ("MINDIR", "AIR", "ONNX")
TOLERANCE = 1e-5
# MindSpore's tanh on a CPU is off by up to 1e-4 where its argument nears 5; onnxruntime's is not.
ONNX_TOLERANCE = 1e-4
# Sequences in the check of a graph that takes any number of them.
SAMPLES = 2


def check_format(file_format, target, batch_size=1):
    """Raises `InputError` if a format cannot be written here; a `batch_size` of 0 means any."""
    if file_format == "AIR" and target != "Ascend":
        raise InputError(
            "file_format is AIR: MindSpore writes it on an Ascend only; use MINDIR here"
        )
    if file_format == "AIR" and batch_size == 0:
        raise InputError("batch_size is 0: AIR has fixed shapes; name a number, or use MINDIR")
    if file_format == "ONNX":
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
        except ImportError as error:
            raise InputError(
                f"file_format is ONNX: {error.name} is missing: pip install onnx onnxruntime "
                '"numpy<2"'
            ) from None


def output_path(file_name, pretrained_model, file_format):
    """The path of the exported file.

    Args:
        file_name: the flag's value; the format's suffix is appended if it is missing, but not to a
            pipe or device. None: the name of the checkpoint, with the format's suffix.
        pretrained_model: the flag's value, the checkpoint beside which the file goes by default;
            None: the bundled checkpoint, whose export goes into the working folder.
        file_format: one of `FORMATS`.

    Raises:
        InputError: it is the checkpoint itself, or a link to it.
    """
    suffix = f".{file_format.lower()}"
    source = Path(pretrained_model or checkpoint.BUNDLED.name)
    path = source.with_suffix(suffix) if file_name is None else Path(file_name)
    if path.suffix != suffix and not is_no_file(path):
        path = path.with_name(path.name + suffix)
    if path.exists() and source.exists() and path.samefile(source):
        raise InputError(f"{path}: is the checkpoint to export (file_name): name another file")
    return path


def export(network, inputs, path, file_format, config=None, any_batch=False):
    """Exports a network for inputs of one shape; the file appears only when complete and checked.

    Args:
        network: an `EncoderForecaster` with its weights.
        inputs: a real batch, (B, T, C, H, W), float32; it gives the shape and serves the check.
        path: the file to write; an existing one is replaced.
        file_format: "MINDIR", "ONNX" or "AIR".
        config: the `Config` to store in a MINDIR, where predict.py --mindir finds the value range
            and the test set; or None.
        any_batch: leave the batch size free (MINDIR and ONNX).

    Returns:
        The largest absolute difference between the outputs of file and network; None for AIR.

    Raises:
        ExportError: the difference is above 1e-5, for ONNX above 1e-4.
        InputError: the file cannot be written.
        DiskError: the disk is full or failing.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written (file_name): {error.strerror}") from None
    check_writable(path, "file_name")
    with scratch_folder() as scratch:
        name = scratch / f"model.{file_format.lower()}"
        if file_format == "ONNX":
            write_onnx(network, inputs.shape, name, any_batch)
        else:
            example, options = ms.Tensor(inputs), {}
            if any_batch:
                example = ms.Tensor(shape=[None, *inputs.shape[1:]], dtype=ms.float32)
            if file_format == "MINDIR" and config:
                text = {checkpoint.CONFIG_KEY: config.to_json()}
                options["custom_func"] = lambda model: model.user_info.update(text)
            ms.export(network, example, file_name=str(name), file_format=file_format, **options)
        difference = None
        if file_format != "AIR":
            difference = compare(network, name, inputs, any_batch)
            if not difference <= (ONNX_TOLERANCE if file_format == "ONNX" else TOLERANCE):
                raise ExportError(
                    f"the {file_format}'s output differs from the checkpoint's by {difference:.3g}"
                )
        write_atomically(path, [name.read_bytes()])
    return difference


def write_onnx(network, shape, name, any_batch):
    """Writes the ONNX graph for inputs of a shape, (B, T, C, H, W)."""
    from src.export.onnx_graph import Builder

    batch, frames, _, *image_size = shape
    model = Builder(network, frames, image_size).model(None if any_batch else batch)
    name.write_bytes(model.SerializeToString())


def compare(network, name, inputs, any_batch=False):
    """The largest absolute difference between the outputs of a network and of its exported file.

    With `any_batch` they are compared for all inputs together and for the first one alone.
    """
    run = runner(name)
    expected = network(ms.Tensor(inputs)).asnumpy()
    counts = [len(inputs), 1] if any_batch else [len(inputs)]
    return max(float(np.abs(run(inputs[:n]) - expected[:n]).max()) for n in counts)


def runner(name):
    """A function from frames to a forecast, both arrays, that runs an exported file."""
    if name.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(name), providers=["CPUExecutionProvider"])
        return lambda frames: session.run(None, {session.get_inputs()[0].name: frames})[0]
    graph = nn.GraphCell(ms.load(str(name)))
    return lambda frames: graph(ms.Tensor(frames)).asnumpy()
