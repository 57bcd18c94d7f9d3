"""Compares what two policies observe, compute and do where their tensors have the same shapes.

Nothing here compares weights; see `transfer`.
"""

from collections.abc import Iterator, Mapping, Sequence

from entrain.policy.action_bounds import has_range
from entrain.policy.actor_critic import ActorNetwork
from entrain.policy.encoders import of_kind
from entrain.policy.images import pixel_range
from entrain.policy.inputs import PREVIOUS_ACTION
from entrain.policy.normalization import scaled_bounds
from entrain.quoting import listed
from entrain_envs.spec import ObservationSpec


def differences(trained: ActorNetwork, policy: ActorNetwork) -> Iterator[str]:
    """Why `policy` is another one than `trained` with the same weights, a sentence for each."""
    yield from _of_inputs(trained, policy)
    yield from _of_networks(trained, policy)
    yield from _of_scales(trained, policy)
    if actions(trained) == actions(policy):
        now = _outputs(policy)
        changed = [
            f"{name} {now[name]} instead of {was}"
            for name, was in _outputs(trained).items()
            if name in now and was != now[name]
        ]
        if changed:
            yield f"the same outputs are other actions now: {', '.join(changed)}"


def actions(policy: ActorNetwork) -> str:
    """The meaning of the outputs of its action head, in words."""
    action = policy.spec.action
    parts = [f"{action.continuous_size} continuous dimensions"] if action.continuous_size else []
    return " and ".join(
        [*parts, *([f"branches {list(action.branches)}"] if action.branches else [])]
    )


def _of_inputs(trained: ActorNetwork, policy: ActorNetwork) -> Iterator[str]:
    before, now = (it.inputs.observations for it in (trained, policy))
    normalizes = trained.config.normalize_observations and policy.config.normalize_observations
    if len(before) == len(now):
        pairs = [
            pair
            for pair in zip(before, now, strict=True)
            if not _is_same(*pair, normalizes=normalizes)
        ]
        before, now = tuple(it for it, _ in pairs), tuple(it for _, it in pairs)
    if not before and not now:
        return
    words = f"its observations were {_in_words(before)} and are {_in_words(now)}"
    sizes = [it.normalizer.feature_size for it in (trained, policy)]
    is_shown_alike = not policy.config.normalize_observations and sizes[0] == sizes[1]
    if is_shown_alike and any(it.kind in ("vector", "goal") for it in now):
        words += "; their numbers are scaled as they were then"
    yield words


def _is_same(was: ObservationSpec, now: ObservationSpec, *, normalizes: bool) -> bool:
    """Whether both are the same numbers to the networks, as far as specs say."""
    if was != now:
        return False
    if was.kind == "image":
        return pixel_range(was) == pixel_range(now)
    if was.kind == "entities":
        return True
    by_statistics = normalizes and now.name != PREVIOUS_ACTION
    if by_statistics and not (was.low and now.low):
        # Bounds that are not known decide nothing, and say nothing of the unit.
        return True
    return bool((scaled_bounds(was) == scaled_bounds(now)).all())


def _in_words(observations: Sequence[ObservationSpec]) -> str:
    return listed([f"{it}{_bounds_of(it)}" for it in observations]) or "none"


def _bounds_of(observation: ObservationSpec) -> str:
    if not observation.low:
        return ""
    return f" from {min(observation.low):g} to {max(observation.high):g}"


def _of_networks(trained: ActorNetwork, policy: ActorNetwork) -> Iterator[str]:
    """Options with which tensors of the same shapes compute something else."""
    before, now = (it.config.network for it in (trained, policy))
    if before.custom is not None and now.custom is not None:
        if before.custom != now.custom:
            yield f"network.custom was {before.custom} and is {now.custom}"
        return
    has_entities = all(of_kind(it.inputs, "entities") for it in (trained, policy))
    if has_entities and before.entity_heads != now.entity_heads:
        yield (
            f"network.entity_heads was {before.entity_heads} and is {now.entity_heads}, with which "
            "the same weights attend to other things"
        )


def _of_scales(trained: ActorNetwork, policy: ActorNetwork) -> Iterator[str]:
    if trained.config.normalize_observations != policy.config.normalize_observations:
        yield (
            f"normalize_observations was {str(trained.config.normalize_observations).lower()}, "
            "with which its first layer was trained"
        )
    elif (
        policy.config.normalize_observations
        and trained.config.observation_clip != policy.config.observation_clip
    ):
        yield (
            f"observation_clip was {trained.config.observation_clip:g} and is "
            f"{policy.config.observation_clip:g}: its layers are shown other numbers beyond the "
            "smaller one"
        )


def _outputs(policy: ActorNetwork) -> Mapping[str, str]:
    """{option or bounds: value}, which decide what its continuous outputs are to a simulator."""
    action, options = policy.spec.action, policy.config.action
    if not action.continuous_size:
        return {}
    bounds = [f"{low:g} to {high:g}" for low, high in zip(action.low, action.high, strict=True)]
    scaled = {
        "action.distribution": options.distribution,
        "action.clip": f"{options.clip:g}",
    }
    return {
        **(scaled if any(has_range(action)) else {}),
        "action.min_log_sigma_sq": f"{options.min_log_sigma_sq:g}",
        "action.max_log_sigma_sq": f"{options.max_log_sigma_sq:g}",
        "bounds": listed(bounds if len(set(bounds)) > 1 else bounds[:1]),
    }
