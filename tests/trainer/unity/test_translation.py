"""What each ML-Agents setting means in a RunConfig, and how `entrain convert` says it."""

from pathlib import Path
from typing import Any

import pytest

from entrain.cli import main
from entrain.config.algorithm import PPOConfig
from entrain.config.environment_parameters import (
    CompletionConfig,
    CurriculumConfig,
    GaussianSampler,
    MultirangeSampler,
    UniformSampler,
    with_seeds,
)
from entrain.config.load import load_config
from entrain.config.policy import PolicyConfig, algorithm_options
from entrain.errors import ConfigError
from entrain.unity.conversion import native_yaml
from entrain.unity.draft import Draft
from entrain.unity.parameter_messages import parameter_messages
from entrain.unity.parameter_translation import translate_parameters
from entrain.unity.stock_file import load_stock
from entrain.unity.translation import Translation, translate
from entrain_envs.unity.side_channels import Gaussian, write_sampler

pytestmark = pytest.mark.usefixtures("logging_as_before")

STOCK = Path(__file__).parent / "stock"


def translated(folder: Path, text: str, *, seed: int | None = None, **flags: Any) -> Translation:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    given = {key.replace("__", "."): it for key, it in flags.items()}
    return translate(load_stock(path, given), seed=seed)


def refusal(folder: Path, text: str, **flags: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        translated(folder, text, **flags)
    return str(caught.value).replace(f"{folder}/", "")


def policy(folder: Path, text: str) -> PolicyConfig:
    return translated(folder, f"behaviors: {{A: {text}}}").config.policies["A"]


def test_3dball_means_exactly_this() -> None:
    config = translate(load_stock(STOCK / "ppo/3DBall.yaml", {})).config
    assert config.policies["3DBall"] == PolicyConfig.model_validate(
        {
            "total_steps": 500_000,
            "rollout_steps": 12_000,
            "discount": 0.99,
            "network": {
                "hidden_sizes": (128, 128),
                "activation": "silu",
                "image_encoder": "simple",
                "image_features": 128,
                "entity_features": 128,
            },
            "action": {"clip": 3.0, "max_log_sigma_sq": 40.0},
            "normalize_values": False,
            "normalize_observations": True,
            "observation_clip": 5.0,
            "entropy": {
                "coefficient": 0.001,
                "coefficient_schedule": "linear",
                "final_coefficient": 1e-5,
                "dimensions": "mean",
            },
            "algorithm": {
                "minibatch_size": 64,
                "num_epochs": 3,
                "learning_rate": 3e-4,
                "learning_rate_schedule": "linear",
                "final_learning_rate": 1e-10,
                "adam_epsilon": 1e-8,
                "gae_lambda": 0.99,
                "horizon": 1000,
                "surrogate": "per_dimension",
                "clip_range": 0.2,
                "clip_range_schedule": "linear",
                "final_clip_range": 0.1,
                "value_clip_range": 0.2,
                "value_clip_range_schedule": "linear",
                "final_value_clip_range": 0.1,
                "max_grad_norm": 0.0,
                "advantage_normalization": "rollout",
            },
        }
    )
    assert config.checkpoints.every_steps == 500_000
    assert config.checkpoints.keep == 5
    assert (config.name, str(config.runs_directory), config.device) == ("ppo", "results", "auto")


def test_memory_is_half_as_wide_and_minibatches_hold_whole_sequences(tmp_path: Path) -> None:
    options = policy(
        tmp_path,
        "{trainer_type: ppo, hyperparameters: {batch_size: 100}, "
        "network_settings: {memory: {memory_size: 64, sequence_length: 16}}}",
    )
    memory = options.network.memory
    assert (memory.kind, memory.size, memory.layers, memory.sequence_length) == ("lstm", 32, 1, 16)
    # 100 // 16 = 6 sequences of 16.
    assert algorithm_options(options, PPOConfig).minibatch_size == 96


def test_every_other_key_of_a_behaviour_has_its_option(tmp_path: Path) -> None:
    options = policy(
        tmp_path,
        """{trainer_type: ppo, threaded: true, time_horizon: 7,
        hyperparameters: {shared_critic: true, beta: 0.5, epsilon: 0.3, lambd: 0.9,
          learning_rate_schedule: constant},
        network_settings: {normalize: true, num_layers: 0, hidden_units: 9,
          vis_encode_type: match3, goal_conditioning_type: none},
        reward_signals: {extrinsic: {gamma: 0.5, strength: 2}}}""",
    )
    assert options.policy_lag == 1
    assert (options.discount, options.reward_scale) == (0.5, 2.0)
    # mlagents-learn makes at least one layer.
    assert options.network.hidden_sizes == (9,)
    assert (options.network.image_encoder, options.network.image_features) == ("match3", 9)
    assert options.network.goal_conditioning == "concatenate"
    assert options.network.shared
    assert options.entropy.coefficient == 0.5
    ppo = algorithm_options(options, PPOConfig)
    assert (ppo.horizon, ppo.gae_lambda, ppo.clip_range) == (7, 0.9, 0.3)
    schedules = (ppo.learning_rate_schedule, ppo.clip_range_schedule)
    assert {*schedules, options.entropy.coefficient_schedule} == {"constant"}


def test_a_build_is_launched_as_told(tmp_path: Path) -> None:
    text = """
behaviors: {A: {}}
env_settings: {env_path: Build, env_args: [--level, "3"], num_envs: 4, num_areas: 2, seed: 5,
  timeout_wait: 30, max_lifetime_restarts: -1}
engine_settings: {no_graphics: true, time_scale: 0.5, width: 10}
checkpoint_settings: {run_id: deep/er/walk, results_dir: out}
torch_settings: {device: "cuda:0"}
"""
    config = translated(tmp_path, text).config
    unity = config.unity
    assert unity is not None and unity.launch is not None
    assert (unity.port, unity.games, unity.num_areas, unity.timeout_s) == (5005, 4, 2, 30.0)
    assert (unity.engine.time_scale, unity.engine.width, unity.engine.height) == (1.0, 10, 84)
    assert (str(unity.launch.path), unity.launch.arguments) == ("Build", ("--level", "3"))
    assert unity.launch.no_graphics
    assert unity.launch.max_lifetime_restarts == -1
    assert (config.name, config.runs_directory) == ("walk", Path("out/deep/er"))
    assert (config.seed, config.device) == (5, "cuda")


def test_without_a_build_the_editor_is_waited_for_at_its_port(tmp_path: Path) -> None:
    config = translated(tmp_path, "behaviors: {A: {}}\nenv_settings: {base_port: 7000}").config
    assert config.unity is not None
    assert (config.unity.port, config.unity.launch) == (5004, None)
    assert config.simulators.wait_s == 7 * 24 * 3600
    assert not config.simulators.bring_all


def test_a_seed_of_minus_one_is_drawn_or_left_out(tmp_path: Path) -> None:
    assert translated(tmp_path, "behaviors: {A: {}}", seed=77).config.seed == 77
    left_out = translated(tmp_path, "behaviors: {A: {}}")
    assert left_out.config.seed == 1
    assert any("seed" in note for note in left_out.notes)


def test_without_a_file_every_behaviour_has_the_defaults() -> None:
    config = translate(load_stock(None, {})).config
    assert list(config.policies) == ["*"]
    assert config.policies["*"].rollout_steps == 10240


def test_parameters_may_be_numbers_and_samplers(tmp_path: Path) -> None:
    text = """
behaviors: {A: {}}
environment_parameters:
  gravity: 9.81
  b.c: {sampler_type: constant, sampler_parameters: {value: 2}}
  mass: {sampler_type: uniform, sampler_parameters: {min_value: "0.5", max_value: 10}}
  wind: {sampler_type: gaussian, sampler_parameters: {mean: 3, st_dev: 0.3, seed: 7}}
  size: {sampler_type: multirangeuniform, sampler_parameters: {intervals: [[7, 10], [15, 20]]}}
"""
    assert translated(tmp_path, text).config.environment_parameters == {
        "gravity": 9.81,
        "b.c": 2.0,
        "mass": UniformSampler(low=0.5, high=10.0),
        "wind": GaussianSampler(mean=3.0, standard_deviation=0.3, seed=7),
        "size": MultirangeSampler(intervals=((7.0, 10.0), (15.0, 20.0))),
    }


def test_samplers_have_the_seeds_that_mlagents_learn_gives_them(tmp_path: Path) -> None:
    text = """
behaviors: {A: {}}
env_settings: {seed: 70}
environment_parameters:
  gravity: 9.81
  fixed: {sampler_type: constant, sampler_parameters: {value: 2, seed: 5}}
  mass: {sampler_type: uniform, sampler_parameters: {min_value: 1, max_value: 2}}
  wind: {sampler_type: gaussian, sampler_parameters: {seed: -5}}
  platform:
    curriculum:
      - name: a
        value: {sampler_type: constant, sampler_parameters: {value: 2, seed: -7}}
        completion_criteria: {behavior: A, threshold: 1}
      - name: b
        value: {sampler_type: uniform, sampler_parameters: {min_value: 1, max_value: 2}}
  last: {sampler_type: uniform, sampler_parameters: {min_value: 1, max_value: 2}}
"""
    config = translated(tmp_path, text).config
    parameters: Any = with_seeds(config.environment_parameters, config.seed)
    # As its EnvironmentParameterManager numbers them: gravity has 70, constants with seeds none.
    assert (parameters["mass"].seed, parameters["last"].seed) == (71, 73)
    assert parameters["platform"].lessons[1].value.seed == 72
    wind = parameter_messages({"wind": parameters["wind"]})
    assert wind == write_sampler("wind", Gaussian(1.0, 1.0), seed=-5)


def test_samplers_are_left_to_the_runs_seed_unless_a_constant_has_one(tmp_path: Path) -> None:
    text = """
behaviors: {A: {}}
environment_parameters:
  fixed: {sampler_type: constant, sampler_parameters: {value: 2, seed: -1}}
  mass: {sampler_type: uniform, sampler_parameters: {min_value: 1, max_value: 2}}
"""
    assert translated(tmp_path, text).config.environment_parameters == {
        "fixed": 2.0,
        "mass": UniformSampler(low=1.0, high=2.0),
    }


def test_a_curriculum_has_the_same_lessons_and_the_last_ones_criteria_are_left_out() -> None:
    file = load_stock(STOCK / "ppo/WallJump_curriculum.yaml", {})
    draft = Draft()
    translate_parameters(draft, file.run.environment_parameters)
    lessons = CurriculumConfig.model_validate(
        draft.values["environment_parameters"]["big_wall_height"]
    ).lessons
    assert [lesson.name for lesson in lessons] == ["Lesson0", "Lesson1", "Lesson2", "Lesson3"]
    assert lessons[1].value == UniformSampler(low=4.0, high=7.0)
    assert lessons[1].completion == CompletionConfig(
        behaviour="BigWallJump", measure="progress", threshold=0.3, min_episodes=100
    )
    assert (lessons[3].value, lessons[3].completion) == (8.0, None)


def test_checkpoints_that_behaviours_want_at_different_times(tmp_path: Path) -> None:
    text = """
behaviors:
  A: {checkpoint_interval: 1000, keep_checkpoints: 2}
  B: {even_checkpoints: true, keep_checkpoints: 4, max_steps: 2000}
"""
    translation = translated(tmp_path, text)
    # B: 2000 / 4 = 500 steps.
    assert translation.config.checkpoints.every_steps == 500
    assert translation.config.checkpoints.keep == 4
    assert any("differ" in note for note in translation.notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "behaviors: {A: {trainer_type: dqn, hyperparameters: {x: 1}}, B: {trainer_type: pppo}}",
            "config.yaml: not yet in entrain: trainer_type dqn, a plug-in's (behaviors.A); "
            "trainer_type pppo, a plug-in's - or did you mean ppo? (behaviors.B). Nothing was "
            "started; train without these parts, or with mlagents-learn",
        ),
        (
            "default_settings: {trainer_type: poca}\nbehaviors: {A: {trainer_type: ppo}}",
            "config.yaml: not yet in entrain: trainer_type poca (default_settings). Nothing was "
            "started; train without these parts, or with mlagents-learn",
        ),
        (
            "env_settings: {seed: 3}",
            "config.yaml: there are no behaviors and no default_settings; name the behavior of "
            "your game, as in 'behaviors: {3DBall: {trainer_type: ppo}}'",
        ),
        (
            "behaviors: {A: {}}\ntorch_settings: {device: 'cuda:3'}",
            "config.yaml:2: torch_settings.device is 'cuda:3'; write cuda, and set "
            "CUDA_VISIBLE_DEVICES=3 before the command",
        ),
        (
            "behaviors: {A: {}}\ncheckpoint_settings: {run_id: my run}",
            "config.yaml, translated: name is 'my run'; it must be a letter or digit, then "
            "letters, digits, '.', '_' and '-'; at most 100 in all",
        ),
    ],
)
def test_what_cannot_be_done_is_named_before_anything_starts(
    tmp_path: Path, text: str, words: str
) -> None:
    assert refusal(tmp_path, text) == words


@pytest.mark.parametrize(
    ("init_path", "initialize_from", "expected"),
    [
        ("null", "null", None),
        ("a.pt", "null", "a.pt"),
        ("null", "old", "results/old"),
        ("A-500.pt", "old", "results/old/A/A-500.pt"),
        ("elsewhere/a.pt", "old", "elsewhere/a.pt"),
    ],
)
def test_a_policy_begins_with_the_file_that_mlagents_learn_would_read(
    tmp_path: Path, init_path: str, initialize_from: str, expected: str | None
) -> None:
    text = (
        f"behaviors: {{A: {{init_path: {init_path}}}}}\n"
        f"checkpoint_settings: {{initialize_from: {initialize_from}}}"
    )
    options = translated(tmp_path, text).config.policies["A"]
    assert options.initial_weights == (None if expected is None else Path(expected))
    assert not options.initial_progress


def test_convert_prints_settings_that_mean_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = STOCK / "ppo/WallJump.yaml"
    assert main(["convert", str(path), "--behavior", "BigWallJump"]) == 0
    text = capsys.readouterr().out
    assert "    rollout_steps: 2048                           # buffer_size\n" in text
    converted = tmp_path / "native.yaml"
    converted.write_text(text, encoding="utf-8")
    whole, only = translate(load_stock(path, {})).config, load_config(converted, [])
    assert set(whole.policies) == {"BigWallJump", "SmallWallJump"}
    assert only.policies == {"BigWallJump": whole.policies["BigWallJump"]}
    assert main(["convert", str(path), "--behavior", "Wall"]) == 2
    assert "no behavior 'Wall' (it has: BigWallJump, SmallWallJump)" in capsys.readouterr().err


def test_convert_says_where_the_name_of_the_run_is_from(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    remarks = {
        "": "name: ppo                                         # no run_id is given; choose a name",
        "{run_id: walk}": "name: walk                                        # run_id",
    }
    for asked, line in remarks.items():
        path.write_text(f"behaviors: {{A: {{}}}}\ncheckpoint_settings: {asked or '{}'}")
        file = load_stock(path, {})
        assert line in native_yaml(translate(file), file).split("\n")


def test_convert_says_in_comments_what_has_no_equal(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "behaviors: {A: {network_settings: {deterministic: true}}}\n"
        "checkpoint_settings: {resume: true}"
    )
    file = load_stock(path, {})
    comments = [each for each in native_yaml(translate(file), file).split("\n") if each[:1] == "#"]
    assert len(comments) == 4
    assert "deterministic has no effect while a policy learns" in comments[2]
    assert comments[3] == "# No option: resume is entrain resume."
