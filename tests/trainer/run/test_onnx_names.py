"""An exported policy's inputs have the observations' own names, whatever those are."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from entrain.config.policy import PolicyConfig
from entrain.policy.actor_critic import ActorCritic
from entrain.run.export_check import random_inputs
from entrain.run.onnx_names import name_ends
from entrain.run.onnx_policy import input_names
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

ACTION = ActionSpec((-1.0, -1.0), (1.0, 1.0), (3,))
OURS = (
    *("continuous_action", "action_mean", "log_sigma_sq", "discrete_action", "logits"),
    *("action_mask", "state_in", "state_out"),
)


def test_an_observation_that_is_called_as_another_part_of_the_file_gets_a_prefix() -> None:
    names = (*OURS, "observation.logits")
    spec = BehaviourSpec("w", tuple(ObservationSpec(name, (2,)) for name in names), ACTION)
    assert input_names(spec) == [
        *("observation.continuous_action", "observation.action_mean", "observation.log_sigma_sq"),
        # The one prefix is another observation's name.
        *("observation.discrete_action", "observation.observation.logits"),
        *("observation.action_mask", "observation.state_in", "observation.state_out"),
        *("observation.logits", "action_mask"),
    ]


names_of_inputs = st.lists(
    st.one_of(
        st.sampled_from([*OURS, "x", "y", "z", "inner.x", "inner.inner.x", "observation.logits"]),
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    ),
    min_size=2,
    max_size=4,
    unique=True,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(names=names_of_inputs)
def test_any_names_lead_to_a_graph_that_computes_the_same(names: Sequence[str]) -> None:
    spec = BehaviourSpec("w", tuple(ObservationSpec(name, (2,)) for name in names), ACTION)
    inputs = input_names(spec)[:-1]
    assert len(set(inputs)) == len(inputs)
    assert all(new in (name, *_prefixed(name)) for name, new in zip(names, inputs, strict=True))
    model = sum_of_parts(len(inputs))
    name_ends(model.graph, inputs=inputs, outputs=["logits"])
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert [value.name for value in session.get_inputs()] == inputs
    feed = {name: np.full(2, 10.0**index, np.float32) for index, name in enumerate(inputs)}
    (total,) = session.run(["logits"], feed)
    # 2 * (1 + 10 + ...) if the condition holds, which is inside another graph.
    assert total.tolist() == [2.0 * sum(10.0**index for index in range(len(inputs)))] * 2


def _prefixed(name: str) -> Sequence[str]:
    return ["observation." * times + name for times in (1, 2)]


def sum_of_parts(count: int) -> onnx.ModelProto:
    """Twice the sum of its inputs, with values inside that are called x, y and logits."""
    ends = [
        helper.make_tensor_value_info(f"in_{index}", TensorProto.FLOAT, [2])
        for index in range(count)
    ]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])
    inside = helper.make_tensor_value_info("z", TensorProto.FLOAT, [2])
    doubled = helper.make_graph([helper.make_node("Mul", ["x", "y"], ["z"])], "then", [], [inside])
    other = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [2])
    zero = helper.make_graph([helper.make_node("Sub", ["x", "x"], ["logits"])], "else", [], [other])
    graph = helper.make_graph(
        [
            helper.make_node("Sum", [end.name for end in ends], ["x"]),
            helper.make_node("If", ["inner.x"], ["out"], then_branch=doubled, else_branch=zero),
        ],
        "sum",
        ends,
        [out],
        [
            helper.make_tensor("y", TensorProto.FLOAT, [], [2.0]),
            helper.make_tensor("inner.x", TensorProto.BOOL, [], [True]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_random_inputs_are_found_by_the_names_of_the_file() -> None:
    spec = BehaviourSpec("w", (ObservationSpec("logits", (2,)),), ACTION)
    policy = ActorCritic(spec, PolicyConfig(), seed=1)
    assert list(random_inputs(policy, rows=2)) == ["observation.logits", "action_mask"]
