"""The state of a training: what a checkpoint holds beside weights and moments to resume a run."""

import dataclasses
from dataclasses import dataclass

from src.config.fields import Checked, from_dict
from src.errors import InputError

# Fields that have another name in checkpoints.
NAMES_IN_FILES = {
    "evaluations_without_improvement": "bad_evaluations",
    "lr_reductions": "halvings",
}
# What the first version's states did not have, and what it is where it is missing.
LATER_NAMES = {
    "own_mse": None,
    "least_phase": 0,
    "extended_at": 0.0,
    "extended_rate": None,
    "best_csi": None,
    "own_csi": None,
}
# The limits of a run, of which more extend it.
LIMITS = ("epochs", "max_minutes", "max_work")


@dataclass
class TrainingState(Checked):
    """The state that the callbacks share and checkpoints carry.

    `step` counts the steps of the run. With `steps_per_epoch` it gives the epoch and the position
    in it, and so every sequence to come: each is a pure function of seed, epoch and index. At the
    end of an epoch the state is saved after its validation. `frames` counts the frames trained on;
    a whole sequence has `sequence_frames`, of which a curriculum may use only the first.

    `ranks` is the number of processes that train together. `best_mse` is the MSE of the best
    evaluation, `evaluations_without_improvement` the number of evaluations since then.
    `plateau_evaluations` and `lr_reductions` belong to the plateau schedule. `loss_sum` and
    `loss_count` cover the steps since the last row of metrics.csv. `own_mse` is the MSE of this
    state where it is in a best.ckpt without being the best: after an earlier state was resumed, or
    in another folder, the best one is no longer there. `best_csi` and `own_csi` are the same of the
    CSI, in a run whose best.ckpt is chosen by that.

    A finished run that is extended has `extended_rate`, the learning rate that it continues with at
    the progress `extended_at`. Whatever limits change, no phase comes before `least_phase`.
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
    evaluations_without_improvement: int = 0
    plateau_evaluations: int = 0
    lr_reductions: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    own_mse: float | None = None
    least_phase: int = 0
    extended_at: float = 0.0
    extended_rate: float | None = None
    best_csi: float | None = None
    own_csi: float | None = None

    def to_dict(self):
        """The state as plain numbers under their names in a checkpoint."""
        values = dataclasses.asdict(self)
        return {
            NAMES_IN_FILES.get(name, name): value
            for name, value in values.items()
            if name not in LATER_NAMES or value != LATER_NAMES[name]
        }

    @classmethod
    def from_checkpoint(cls, checkpoint):
        """The state in a checkpoint; raises `InputError` if it is damaged."""
        try:
            names = {in_file: name for name, in_file in NAMES_IN_FILES.items()}
            values = {names.get(key, key): value for key, value in checkpoint.state.items()}
            return from_dict(cls, LATER_NAMES | values, complete=True)
        except InputError as error:
            raise InputError(f"{checkpoint.path}: its training state is damaged: {error}") from None

    def continue_on(self, ranks, steps_per_epoch, path):
        """Adapts the state to another number of ranks.

        This is possible only between epochs: within an epoch it would change which sequences
        belong to a step.

        Raises:
            InputError: `path`, the checkpoint of this state, was saved within an epoch.
        """
        if ranks == self.ranks:
            return
        epoch, within = divmod(self.step, self.steps_per_epoch)
        if within:
            raise InputError(
                f"{path}: was saved within an epoch of a training on {self.ranks} rank(s): resume "
                f"it on {self.ranks}, not on {ranks}, or resume an epoch_NNNN.ckpt of that run"
            )
        self.ranks, self.steps_per_epoch = ranks, steps_per_epoch
        self.step = epoch * steps_per_epoch

    def change_limits(self, before, after):
        """Goes on under other limits: phases do not go back, and a run that was at its end, or has
        been extended from there, goes on with its last learning rate, or with another one.

        Args:
            before, after: the `TrainingConfig` until now and from now on.
        """
        reached = self.phase(before)
        if self.phase(after) < reached:
            self.least_phase = reached
        other_rate = before.learning_rate != after.learning_rate
        changes = other_rate or any(getattr(before, n) != getattr(after, n) for n in LIMITS)
        goes_on = self.progress(before) >= 1 or (self.extension and changes)
        if goes_on and self.progress(after) < 1:
            self.extended_at = self.progress(after)
            self.extended_rate = after.learning_rate if other_rate else self.learning_rate

    @property
    def extension(self):
        """Progress and learning rate at which a finished run was extended, or None."""
        return None if self.extended_rate is None else (self.extended_at, self.extended_rate)

    def sequences(self, training):
        """The number of sequences trained on so far, by all ranks."""
        return self.step * training.sequences_per_step(self.ranks)

    @property
    def sequence_equivalents(self):
        """The work done so far, in whole sequences; a shorter sequence counts by its frames."""
        return self.frames / self.sequence_frames

    def progress(self, training):
        """The fraction of the run that is done, of its epochs, time or work: the largest."""
        done = 0.0
        if training.epochs:
            steps = self.step / (training.epochs * self.steps_per_epoch)
            done = work_fraction(training.curriculum, self.sequence_frames, steps)
        if training.max_minutes:
            done = max(done, self.seconds / (60 * training.max_minutes))
        if training.max_work:
            done = max(done, self.sequence_equivalents / training.max_work)
        return done

    def phase(self, training):
        """The index in `Config.horizons` of the horizon that the next step trains on."""
        progress = self.progress(training)
        reached = sum(progress >= horizon.until for horizon in training.curriculum)
        return min(max(self.least_phase, reached), len(training.curriculum))

    def is_complete(self, training):
        """Whether the run is over, at its end or by an early stop."""
        waited = self.evaluations_without_improvement
        stopped_early = training.early_stop and waited >= training.early_stop
        return bool(stopped_early) or self.progress(training) >= 1


def work_fraction(curriculum, sequence_frames, step_fraction):
    """The fraction of a run's work that is done after a fraction of its steps.

    A curriculum divides the work of a run into phases. Work is proportional to frames, so a phase
    with a short horizon takes a larger fraction of the steps than of the work.
    """
    if not curriculum or step_fraction >= 1:
        return step_fraction
    begins = [0.0, *(horizon.until for horizon in curriculum)]
    spans = [end - begin for begin, end in zip(begins, [*begins[1:], 1.0], strict=True)]
    lengths = [*(horizon.frames for horizon in curriculum), sequence_frames]
    steps = [span / length for span, length in zip(spans, lengths, strict=True)]
    rest, phase = step_fraction * sum(steps), 0
    while phase < len(steps) - 1 and rest >= steps[phase]:
        rest, phase = rest - steps[phase], phase + 1
    return begins[phase] + rest * lengths[phase]
