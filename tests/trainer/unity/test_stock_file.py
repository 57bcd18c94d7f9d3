"""ML-Agents settings as users write them: what is read, what is refused, and in which words."""

from pathlib import Path
from typing import Any

import pytest

from entrain.errors import ConfigError
from entrain.unity.stock_file import load_stock
from entrain.unity.stock_run import StockRun
from entrain.unity.stock_trainer import StockPPOTrainer, StockSACTrainer


def read(folder: Path, text: str, **flags: Any) -> StockRun:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_stock(path, {key.replace("__", "."): it for key, it in flags.items()}).run


def complaint(folder: Path, text: str, **flags: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, **flags)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "")


def ppo(run: StockRun, name: str = "A") -> StockPPOTrainer:
    trainer = run.behaviors[name]
    assert isinstance(trainer, StockPPOTrainer)
    return trainer


def test_every_key_has_the_default_of_mlagents_learn(tmp_path: Path) -> None:
    run = read(tmp_path, "behaviors: {A: {}, S: {trainer_type: sac}, P: {trainer_type: poca}}")
    a, sac = ppo(run), run.behaviors["S"]
    assert isinstance(sac, StockSACTrainer)
    assert a.model_dump(exclude={"network_settings", "reward_signals", "hyperparameters"}) == {
        "trainer_type": "ppo",
        "init_path": None,
        "keep_checkpoints": 5,
        "checkpoint_interval": 500_000,
        "even_checkpoints": False,
        "max_steps": 500_000,
        "time_horizon": 64,
        "summary_freq": 50_000,
        "threaded": False,
        "self_play": None,
        "behavioral_cloning": None,
        "framework": None,
    }
    assert a.hyperparameters.model_dump() == {
        "batch_size": 1024,
        "buffer_size": 10240,
        "learning_rate": 3e-4,
        "learning_rate_schedule": "linear",
        "beta": 5e-3,
        "epsilon": 0.2,
        "lambd": 0.95,
        "num_epoch": 3,
        "beta_schedule": "linear",
        "epsilon_schedule": "linear",
        "shared_critic": False,
    }
    assert a.network_settings.model_dump() == {
        "normalize": False,
        "hidden_units": 128,
        "num_layers": 2,
        "vis_encode_type": "simple",
        "goal_conditioning_type": "hyper",
        "deterministic": False,
        "memory": None,
    }
    assert set(a.reward_signals.model_dump(exclude_none=True)) == {"extrinsic"}
    assert sac.hyperparameters.model_dump() == {
        "batch_size": 128,
        "buffer_size": 50000,
        "learning_rate": 3e-4,
        "learning_rate_schedule": "constant",
        "buffer_init_steps": 0,
        "tau": 0.005,
        "steps_per_update": 1.0,
        "save_replay_buffer": False,
        "init_entcoef": 1.0,
        "reward_signal_steps_per_update": None,
    }
    assert run.env_settings.base_port == 5005
    assert run.engine_settings.capture_frame_rate == 60
    assert (run.checkpoint_settings.run_id, run.checkpoint_settings.results_dir) == (
        "ppo",
        "results",
    )


def test_numbers_may_be_text_and_whole_ones_may_have_a_point(tmp_path: Path) -> None:
    # PyYAML, which mlagents-learn reads with, takes 1.0e7 and 3e-4 for text.
    a = ppo(
        read(
            tmp_path,
            """\
behaviors:
  A:
    trainer_type: ppo
    max_steps: 1.0e7
    keep_checkpoints: "3"
    threaded: "True"
    hyperparameters: {learning_rate: "3e-4", buffer_size: 1e5, epsilon: 3e-1}
    network_settings: {normalize: yes}
""",
        )
    )
    assert (a.max_steps, a.keep_checkpoints, a.threaded) == (10_000_000, 3, True)
    assert (a.hyperparameters.learning_rate, a.hyperparameters.buffer_size) == (3e-4, 100_000)
    assert a.network_settings.normalize


def test_a_mistake_beside_a_trainer_that_is_not_built_does_not_hide_it(tmp_path: Path) -> None:
    text = "behaviors:\n A:\n  trainer_type: poca\n  hyperparameters:\n   tau: 3"
    said = complaint(tmp_path, text)
    assert "config.yaml:5: behaviors.A.hyperparameters has no key 'tau'" in said
    assert said.endswith("; besides, trainer_type poca is not yet in entrain")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "behaviors:\n A:\n  trainer_type: ppo\n  hyperparameters:\n   batchsize: 3",
            "config.yaml:5: behaviors.A.hyperparameters has no key 'batchsize'; did you mean "
            "'batch_size'?",
        ),
        (
            "behaviors:\n A: {trainer_type: [sac]}",
            "config.yaml:2: behaviors.A.trainer_type is a list; it must be text",
        ),
        (
            "behaviors:\n A:\n  batch_size: 3",
            "config.yaml:3: behaviors.A has no key 'batch_size'; did you mean "
            "'hyperparameters.batch_size'?",
        ),
        (
            "behaviors: {A: {reward_signals: {extrinsic: {gama: 1}}}}",
            "config.yaml:1: behaviors.A.reward_signals.extrinsic has no key 'gama'; did you mean "
            "'gamma'?",
        ),
        (
            "env_settings: {resume: true}",
            "config.yaml:1: env_settings has no key 'resume' (it has: env_path, env_args, "
            "base_port, num_envs, num_areas, timeout_wait, seed, max_lifetime_restarts, "
            "restarts_rate_limit_n, restarts_rate_limit_period_s)",
        ),
        (
            "behaviours: {}",
            "config.yaml:1: the file has no key 'behaviours'; did you mean 'behaviors'?",
        ),
        (
            "environment_parameters: {m: {sampler_type: uniform, sampler_parameters: {min: 1}}}",
            "config.yaml:1: environment_parameters.m.sampler_parameters has no key 'min' (it has: "
            "seed, min_value, max_value)",
        ),
        (
            "environment_parameters: {m: {curriculum: [{Lesson0: {value: 3}}]}}",
            "config.yaml:1: environment_parameters.m.curriculum.0 has no key 'Lesson0' (it has: "
            "name, value, completion_criteria) (and 2 more mistakes)",
        ),
        (
            "environment_parameters: {m: {curriculum: [{name: a, value: 1}, {name: b, value: 2}]}}",
            "config.yaml:1: environment_parameters.m: curriculum has no completion_criteria in "
            "lesson 'a'; every lesson but the last needs them",
        ),
        (
            "behaviors: {A: {hyperparameters: {beta: 1}}}",
            "config.yaml:1: behaviors.A has hyperparameters and no trainer_type, which says whose "
            "they are; add 'trainer_type: ppo'",
        ),
        (
            "behaviors: {A: {max_steps: 5.5}}",
            "config.yaml:1: behaviors.A.max_steps is 5.5; it must be a whole number",
        ),
        (
            "behaviors: {A: {trainer_type: ppo, hyperparameters: {epsilon: wide}}}",
            "config.yaml:1: behaviors.A.hyperparameters.epsilon is 'wide'; it must be a number",
        ),
        (
            "behaviors: {A: {network_settings: {memory: {memory_size: 7}}}}",
            "config.yaml:1: behaviors.A.network_settings.memory: memory_size is 7; it must be an "
            "even number",
        ),
        (
            "behaviors: {A: {network_settings: {vis_encode_type: big}}}",
            "config.yaml:1: behaviors.A.network_settings.vis_encode_type is 'big'; it must be one "
            "of 'simple', 'nature_cnn', 'resnet', 'match3', 'fully_connected'",
        ),
        (
            "behaviors: {A: {trainer_type: ppo, hyperparameters: {batch_size: 32}, "
            "network_settings: {memory: {sequence_length: 64}}}}",
            "config.yaml:1: behaviors.A: network_settings.memory.sequence_length is 64, and "
            "hyperparameters.batch_size 32; a minibatch must hold a sequence: lower the one or "
            "raise the other",
        ),
        (
            "behaviors: {A: {reward_signals: {gail: {strength: 1}}}}",
            "config.yaml:1: behaviors.A.reward_signals.gail lacks 'demo_path', which it needs",
        ),
        ("behaviors: [A]", "config.yaml:1: behaviors is a list; it must be a group of names"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_was_probably_meant(
    tmp_path: Path, text: str, words: str
) -> None:
    assert complaint(tmp_path, text) == words


def test_keys_that_mlagents_learn_ignores_are_named_in_warnings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = read(
        tmp_path,
        """\
behaviors:
  A:
    framework: tensorflow
    network_settings:
      normalise: true
      memory: {memory_sise: 64}
torch_settings: {devices: cpu}
""",
    )
    assert run.torch_settings.device is None
    assert [record.getMessage().partition("config.yaml:")[2] for record in caplog.records] == [
        "5: behaviors.A.network_settings has no key 'normalise', so it has no effect; did you mean "
        "'normalize'?",
        "6: behaviors.A.network_settings.memory has no key 'memory_sise', so it has no effect; did "
        "you mean 'memory_size'?",
        "7: torch_settings has no key 'devices', so it has no effect; did you mean 'device'?",
        "3: behaviors.A.framework has no effect",
    ]


def test_schedules_follow_that_of_the_learning_rate_if_it_is_given(tmp_path: Path) -> None:
    given = "behaviors: {A: {trainer_type: ppo, hyperparameters: {%s}}}"
    constant = ppo(read(tmp_path, given % "learning_rate_schedule: constant")).hyperparameters
    assert (constant.beta_schedule, constant.epsilon_schedule) == ("constant", "constant")
    mixed = "learning_rate_schedule: constant, beta_schedule: linear"
    assert ppo(read(tmp_path, given % mixed)).hyperparameters.beta_schedule == "linear"


DEFAULTS = """\
default_settings:
  trainer_type: ppo
  hyperparameters: {batch_size: 16, learning_rate_schedule: constant}
  network_settings: {hidden_units: 256, memory: {memory_size: 64}}
  reward_signals: {extrinsic: {gamma: 0.9}}
behaviors:
  A: {hyperparameters: {buffer_size: 99, learning_rate_schedule: linear}}
  B: {network_settings: {memory: null}, hyperparameters: }
  C:
"""


def test_default_settings_lie_under_those_of_each_behaviour(tmp_path: Path) -> None:
    run = read(tmp_path, DEFAULTS.replace("memory_size: 64", "memory_size: 64, sequence_length: 8"))
    a, b, c = (ppo(run, name) for name in "ABC")
    assert (a.hyperparameters.batch_size, a.hyperparameters.buffer_size) == (16, 99)
    # The defaults are complete, so their schedules stay what they are.
    assert a.hyperparameters.learning_rate_schedule == "linear"
    assert a.hyperparameters.beta_schedule == "constant"
    assert a.network_settings.hidden_units == 256
    assert a.network_settings.memory is not None
    assert b.network_settings.memory is None
    assert c == run.default_settings


def test_another_trainer_than_the_default_ones_has_hyperparameters_of_its_own(
    tmp_path: Path,
) -> None:
    text = "default_settings: {trainer_type: ppo, hyperparameters: {beta: 1}}\n"
    run = read(tmp_path, text + "behaviors: {A: {trainer_type: sac, max_steps: 7}}")
    sac = run.behaviors["A"]
    assert isinstance(sac, StockSACTrainer)
    assert (sac.hyperparameters.batch_size, sac.max_steps) == (128, 7)


def test_a_flag_counts_more_than_the_file_and_the_file_more_than_the_default(
    tmp_path: Path,
) -> None:
    text = "env_settings: {base_port: 6000, seed: 3}\nengine_settings:\n"
    run = read(tmp_path, text, env_settings__seed=4, engine_settings__width=10)
    assert (run.env_settings.base_port, run.env_settings.seed) == (6000, 4)
    assert (run.engine_settings.width, run.engine_settings.height) == (10, 84)
    assert complaint(tmp_path, text, env_settings__num_envs=0) == (
        "--num-envs: env_settings.num_envs is 0; it must be at least 1"
    )


@pytest.mark.parametrize(
    ("text", "flags", "resumes", "initializes"),
    [
        ("{resume: true, initialize_from: old}", {}, True, None),
        ("{resume: true}", {"initialize_from": "old"}, False, "old"),
        ("{initialize_from: old}", {"resume": True}, True, None),
        ("{initialize_from: old}", {"load_model": True}, True, None),
        ("{}", {"resume": True, "initialize_from": "old"}, True, None),
        ("{initialize_from: old}", {}, False, "old"),
    ],
)
def test_of_resume_and_initialize_from_the_flag_counts_and_then_resume(
    tmp_path: Path, text: str, flags: dict[str, Any], resumes: bool, initializes: str | None
) -> None:
    given = {f"checkpoint_settings__{name}": it for name, it in flags.items()}
    asked = read(tmp_path, f"checkpoint_settings: {text}", **given).checkpoint_settings
    assert (asked.resume, asked.initialize_from) == (resumes, initializes)


def test_a_run_id_of_digits_stays_as_it_is_written(tmp_path: Path) -> None:
    run = read(tmp_path, "checkpoint_settings: {run_id: 007}\nenv_settings: {env_args: [--n, 5]}")
    assert run.checkpoint_settings.run_id == "007"
    assert run.env_settings.env_args == ("--n", "5")


def test_an_empty_file_or_section_is_all_defaults(tmp_path: Path) -> None:
    for text in ("", "behaviors:", "behaviors:\nenv_settings:\nenvironment_parameters:"):
        assert read(tmp_path, text) == StockRun()
