"""The configuration: limits, presets and the way through JSON."""

import dataclasses
import json

import pytest

from src.config.fields import names, option
from src.config.presets import PRESETS, make_config
from src.config.schema import Config, DataConfig, Horizon, ModelConfig, Stage, TrainingConfig
from src.errors import InputError


@pytest.mark.parametrize("preset", PRESETS)
def test_json_round_trip(preset):
    options = {"num_digits": (2, 3), "data_path": "some where", "loss": "mse"}
    config = make_config(preset, options | {"loss_weights": ((2.0, 2.0), (5.0, 5.0))})
    assert Config.from_json(config.to_json()) == config


def test_published_recipe_and_short_run_recipe():
    """`published` is the 2022 version's recipe; the presets' own differ in the batch alone."""
    published = make_config("multiscale", {}, "published").training
    assert (published.batch_size, published.epochs, published.learning_rate) == (32, 100, 1e-4)
    assert (published.lr_schedule, published.loss, published.optimizer) == (
        "plateau",
        "mse",
        "adam",
    )
    small = make_config("small", {}).training
    assert (small.loss, small.optimizer) == ("bce", "muon")
    assert make_config("multiscale", {"batch_size": 8}).training == small
    assert make_config("paper", {"batch_size": 8}).training == small
    assert make_config("two_scale", {}).training == small
    assert make_config("small", {"output_activation": "identity"}).training.loss == "mse"
    assert make_config("small", {}, "published").training == published
    assert make_config("paper", {"epochs": 3}, "published").training.lr_schedule == "plateau"


def test_the_curriculum_is_cut_to_the_sequences():
    """A preset's horizons are no longer than the sequences; explicit ones have to fit."""
    assert list(map(str, make_config("small", {}).horizons)) == ["4+2:0.3", "7+5:0.6", "10+10:1"]
    short = make_config("small", {"input_frames": 5, "forecast_frames": 3})
    assert list(map(str, short.horizons)) == ["4+2:0.3", "5+3:1"]
    horizons = (Horizon.parse("2+1:0.25"), Horizon.parse("3+1:.5"))
    assert make_config("multiscale", {"curriculum": horizons}).training.curriculum == horizons


@pytest.mark.parametrize("text", ["4+2", "4-2:0.3", "4+2:", "0+2:0.3", "4+2:0", "4+2:1.5"])
def test_what_is_no_clip(text):
    with pytest.raises(InputError):
        Horizon.parse(text)


def test_eval_size_follows_the_epoch():
    assert make_config("small", {"epoch_size": 200}).eval_size == 20
    assert make_config("small", {"epoch_size": 8}).eval_size == 1
    assert make_config("small", {"eval_size": 5}).eval_size == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0: it must be at least 1"),
        ({"batch_size": 9, "epoch_size": 8}, "larger than an epoch of 8"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: it must be greater than 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan: it must be finite"),
        ({"loss": "l1"}, "loss is 'l1': it must be one of mse, mse"),
        ({"image_size": (64, 65)}, "image_size is 64 65: this preset needs multiples of 4, 64 64"),
        ({"image_size": (64,)}, "image_size is .*: it must hold 2 values"),
        ({"num_digits": ()}, "num_digits"),
        ({"num_digits": (2, 0)}, "num_digits is 0"),
        ({"epochs": 1.5}, "epochs is 1.5: it must be a whole number"),
        (
            {"curriculum": (Horizon(11, 2, 0.3),)},
            "11.2:0.3: its input_frames must be at most .* 10",
        ),
        ({"curriculum": (Horizon(4, 2, 1.0),)}, "4.2:1: its fraction must be below 1"),
        (
            {"curriculum": (Horizon(4, 2, 0.5), Horizon(7, 5, 0.5))},
            "7.5:0.5: .* above .* previous phase, 0.5",
        ),
        ({"loss_weights": ((2.0, 2.0),)}, "loss_weights is given with loss 'bce'"),
        ({"loss": "mse", "loss_weights": ((5, 5.0), (5, 9.0))}, "threshold 5 after 5"),
        ({"loss": "mse", "loss_weights": ((5, 0.0),)}, "loss_weights has 5:0"),
        ({"loss": "mse", "loss_weights": ((5, float("nan")),)}, "loss_weights has 5:nan"),
        ({"loss": "mse", "loss_weights": ((5.0,),)}, "loss_weights has 5: it must be THR"),
        ({"residual": True}, "residual is given: output_activation must be 'identity'"),
        (
            {"output_activation": "identity", "loss": "bce"},
            "loss is 'bce': output_activation must be 'sigmoid'",
        ),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(InputError, match=message):
        make_config("small", options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 4}, "kernel_size is 4: it must be odd"),
        ({"stages": (Stage(12),), "group_norm": True}, "hidden_channels is 12"),
        ({"stages": (Stage(8, 0, 2),)}, "stride is 2"),
        ({"stages": (Stage(8), Stage(8, 8, 2))}, "head_channels is 0"),
        ({"stages": ()}, "stages"),
    ],
)
def test_networks_that_cannot_be(arguments, message):
    with pytest.raises(InputError, match=message):
        ModelConfig(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("preset"), "preset is missing"),
        (lambda v: v["data"].update(colour=1), "colour is unknown"),
        (lambda v: v["model"].update(kernel_size="5"), "kernel_size is '5'"),
        (lambda v: v["training"].update(epochs=True), "epochs is True"),
        (lambda v: v.update(model=3), "ModelConfig is int"),
        (lambda v: v["model"].update(stages=[[64, 0, 1]]), "Stage is list"),
    ],
)
def test_strict_json(change, message):
    values = json.loads(make_config("small", {}).to_json())
    change(values)
    with pytest.raises(InputError, match=message):
        Config.from_json(json.dumps(values))


def test_a_file_may_be_older_than_a_field():
    """What it does not know has its default."""
    values = json.loads(make_config("small", {"seed": 7}).to_json())
    del values["model"]["residual"], values["training"]["max_work"]
    assert Config.from_json(json.dumps(values)) == make_config("small", {"seed": 7})


def test_not_json():
    for text in ("", "{", "[" * 100_000, "[]", "null"):
        with pytest.raises(InputError):
            Config.from_json(text)


def test_the_defaults_are_one_place():
    """The dataclasses are frozen: nobody changes a default at run time."""
    with pytest.raises(AttributeError):
        DataConfig().epoch_size = 3


# What each property of a setting means, name by name: one that is new belongs into one of these.
PROPERTIES = {
    ("belongs_to", "dataset"): "auto_range axes cell_method dataset_crc dataset_size fill "
    "found_variable frequency group latitude levels longitude missing nodata pad read_by spacing "
    "standard_name test_from tile time time_from_name transform units validate_from "
    "value_range variable wet_sampling window_stride",
    ("inherited", "always"): "forecast_frames image_size input_frames num_digits",
    ("inherited", "with_dataset"): "dataset held_out missing pad split_seed transform value_range",
    ("inherited", "with_file"): "axes group latitude longitude nodata test_from time "
    "time_from_name validate_from variable window_stride",
    (
        "found_in_dataset",
        True,
    ): "auto_range cell_method channels dataset_crc dataset_size epoch_size fill "
    "found_variable frequency image_size levels read_by spacing standard_name units",
    ("may_change", True): "data_path dataset epochs keep learning_rate log_every max_minutes "
    "max_work num_parallel_workers pictures recompute save_every save_steps sink_size "
    "tensorboard",
    ("reads_file", True): "axes group latitude longitude nodata pad time time_from_name variable",
    ("is_path", True): "data_path dataset pretrained_model",
    (
        "in_graph",
        False,
    ): "auto_range axes best_by cell_method data_path dataset dataset_crc dataset_size "
    "decay_start early_stop epoch_size epochs eval_every eval_size fill found_variable "
    "frequency group held_out keep latitude learning_rate levels log_every longitude "
    "lr_schedule max_minutes max_work nodata num_digits num_parallel_workers pictures "
    "pretrained_model read_by save_every save_steps seed sink_size spacing split_seed "
    "standard_name tensorboard test_from time time_from_name transform units validate_from "
    "value_range variable warmup_steps wet_sampling window_stride",
}


@pytest.mark.parametrize(("key", "value"), PROPERTIES)
def test_properties_of_settings(key, value):
    found = names(ModelConfig, DataConfig, TrainingConfig, **{key: value})
    assert " ".join(sorted(found)) == PROPERTIES[key, value]


def test_a_forgotten_property_is_the_safe_one():
    """It compiles anew, is refused in a resumed run, and is taken over from nowhere."""
    (new,) = dataclasses.fields(dataclasses.make_dataclass("X", [("a", int, option(1, "help"))]))
    assert new.metadata["in_graph"]
    assert not new.metadata["may_change"]
    assert not new.metadata["inherited"]
