"""Where a training stands: what a checkpoint needs beside weights and moments to go on from."""

import dataclasses
from dataclasses import dataclass

from src.config.fields import Checked, from_dict
from src.errors import InputError


@dataclass
class TrainingState(Checked):
    """The callbacks' shared state.

    `step` counts all steps; with `steps_per_epoch` it gives the epoch and the position in it, and
    with them every sequence, because those are pure functions of seed, epoch and index. A state
    that is saved at the end of an epoch has its validation behind it. `frames` counts those that
    were trained on, of sequences of `sequence_frames` or of their beginnings.

    `ranks` is the number of processes that train together. `best_mse` is that of the best
    evaluation, `bad_evaluations` counts those since; `plateau_evaluations` and `halvings` are the
    plateau schedule's; `loss_sum` and `loss_count` are of the steps since the last row of
    metrics.csv.
    """

    steps_per_epoch: int
    ranks: int = 1
    sequence_frames: int = 20
    epoch: int = 0
    step: int = 0
    frames: int = 0
    seconds: float = 0.0
    learning_rate: float = 0.0
    best_mse: float | None = None
    bad_evaluations: int = 0
    plateau_evaluations: int = 0
    halvings: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0

    def to_dict(self):
        """Plain numbers for a checkpoint."""
        return dataclasses.asdict(self)

    @classmethod
    def from_checkpoint(cls, checkpoint):
        """The state that a checkpoint holds; raises `InputError` if it holds something else."""
        try:
            return from_dict(cls, checkpoint.state, complete=True)
        except InputError as error:
            raise InputError(f"{checkpoint.path}: its training state is damaged: {error}") from None

    def continue_on(self, ranks, steps_per_epoch, path):
        """Goes on with another number of ranks: possible between epochs, because within one the
        sequences of a step are other ones then.

        Raises:
            InputError: `path`, the checkpoint of this state, is from within an epoch.
        """
        if ranks == self.ranks:
            return
        epoch, within = divmod(self.step, self.steps_per_epoch)
        if within:
            raise InputError(
                f"{path}: is from within an epoch of a training on {self.ranks} rank(s): resume it "
                f"on as many, not on {ranks}, or resume one of its epoch_NNNN.ckpt"
            )
        self.ranks, self.steps_per_epoch = ranks, steps_per_epoch
        self.step = epoch * steps_per_epoch

    def sequences(self, training):
        """The sequences that have been trained on, by all ranks."""
        return self.step * training.sequences_per_step(self.ranks)

    @property
    def work(self):
        """What was trained on, in whole sequences."""
        return self.frames / self.sequence_frames

    def progress(self, training):
        """The share of the run that is done, of its minutes or its work, whichever is more."""
        steps = self.step / (training.epochs * self.steps_per_epoch)
        share = share_of_work(training.curriculum, self.sequence_frames, steps)
        if training.max_minutes:
            share = max(share, self.seconds / (60 * training.max_minutes))
        if training.max_work:
            share = max(share, self.work / training.max_work)
        return share

    def phase(self, training):
        """Which of `Config.horizons` the next step trains on."""
        progress = self.progress(training)
        return sum(progress >= horizon.until for horizon in training.curriculum)

    def is_complete(self, training):
        """Whether nothing is left to train."""
        stopped_early = training.early_stop and self.bad_evaluations >= training.early_stop
        return bool(stopped_early) or self.progress(training) >= 1


def share_of_work(curriculum, sequence_frames, share_of_steps):
    """The share of a run's work that the first steps are, when each horizon gets its share of work.

    A horizon's work goes with its frames, so a short one gets more steps than its share.
    """
    if not curriculum or share_of_steps >= 1:
        return share_of_steps
    begins = [0.0, *(horizon.until for horizon in curriculum)]
    spans = [end - begin for begin, end in zip(begins, [*begins[1:], 1.0], strict=True)]
    lengths = [*(horizon.frames for horizon in curriculum), sequence_frames]
    steps = [span / length for span, length in zip(spans, lengths, strict=True)]
    left, stage = share_of_steps * sum(steps), 0
    while stage < len(steps) - 1 and left >= steps[stage]:
        left, stage = left - steps[stage], stage + 1
    return begins[stage] + left * lengths[stage]
