"""`--profile`: records with MindSpore's profiler where a few training steps spend their time."""

import tempfile
from pathlib import Path

import mindspore as ms
from mindspore.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

from src.errors import InputError
from src.tools.recorder import Recorder

MOST_STEPS = 20


class Profiling(Recorder):
    """Records up to 20 steps of one epoch, without its first, which sets up the kernels.

    On a CPU the folder then holds `*/FRAMEWORK/cpu_op_type_info_0.csv`, the time by primitive, and
    `*/ASCEND_PROFILER_OUTPUT/trace_view.json`, a timeline for Perfetto or chrome://tracing; on an
    Ascend the second folder also has tables by kernel. In sink mode a sink counts as a step.

    Args:
        folder: the folder that `open_folder` returned.
        state: the `TrainingState`.
    """

    def __init__(self, folder, state):
        super().__init__()
        self.folder = folder
        self.activities = [ProfilerActivity.CPU]
        if ms.get_context("device_target") == "Ascend":
            self.activities.append(ProfilerActivity.NPU)
        self.state = state
        self.profiler = None
        self.left = 0

    def on_train_epoch_begin(self, run_context):
        steps = self.state.steps_per_epoch - self.state.step % self.state.steps_per_epoch
        active = min(MOST_STEPS, steps - 1)
        if self.profiler is None and active > 0:
            self.profiler = profile(
                activities=self.activities,
                schedule=schedule(wait=0, warmup=1, active=active, repeat=1),
                on_trace_ready=tensorboard_trace_handler(str(self.folder)),
            )
            self.left = 1 + active

    def on_train_step_end(self, run_context):
        if self.left:
            self.left -= 1
            self.profiler.step()
            if not self.left:
                self.profiler.stop()
                print(f"profile: {self.folder}", flush=True)

    def on_train_epoch_end(self, run_context):
        self.close()

    def close(self):
        """Ends a recording that is still running; what it has recorded so far is written."""
        if self.left:
            self.left = 0
            self.profiler.stop()


def open_folder(folder):
    """Makes a folder and returns its path; raises `InputError` unless it can be written to."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise InputError(
            f"profile is {folder!r}: cannot be written: {error.strerror}; name another folder"
        ) from None
