"""Says in the log what each observation of a policy was taken for, and what was chosen for it."""

import logging

from entrain.policy.actor_critic import ActorNetwork
from entrain.policy.auto_options import choose_activation
from entrain.policy.inputs import describe_inputs
from entrain.quoting import listed, shortened

logger = logging.getLogger(__name__)


def log_observed(policy: ActorNetwork, *, is_certain: bool = False) -> None:
    """Log one line, and a warning if an image encoder was chosen and no image is observed.

    Not where only vectors are observed, none of which could be an image.

    Args:
        policy: that was just made.
        is_certain: whether what is an image is known, and not guessed: then nothing is warned of.
    """
    network, inputs, name = policy.config.network, policy.inputs, shortened(policy.spec.name)
    observed = listed(describe_inputs(inputs, network), between="; ")
    hidden = ""
    if network.custom is None:
        sizes = listed([str(size) for size in network.hidden_sizes]) or "none"
        hidden = f"; hidden layers {sizes}, {choose_activation(inputs, network)}"
    logger.info("policy '%s' observes %s%s", name, observed, hidden)
    is_chosen = network.image_encoder != "auto" and network.custom is None
    may_be_one = any(len(each.shape) > 1 for each in inputs.observations)
    is_none = all(each.kind != "image" for each in inputs.observations)
    if is_chosen and not is_certain and may_be_one and is_none:
        logger.warning(
            "network.image_encoder %s of policy '%s' has no effect: no observation was taken for "
            "an image; if one is, let the simulator say so (entrain-env --kind NAME=image)",
            network.image_encoder,
            name,
        )
