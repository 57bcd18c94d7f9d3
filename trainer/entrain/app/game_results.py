"""Makes what keeps the results tree of ML-Agents beside a run, and writes policies into it."""

import logging
from importlib import metadata
from pathlib import Path

import torch

from entrain.app.build import policy_of
from entrain.config.run import RunConfig
from entrain.policy.actor_critic import ActorCritic
from entrain.run.folder import RunFolder
from entrain.run.lock import RunLock
from entrain.unity.models.export import export_model
from entrain.unity.models.stock_writing import save_stock_checkpoint, writing_misfit
from entrain.unity.results.checkpoints import Policy
from entrain.unity.results.recorder import Outputs, ResultsRecorder
from entrain.unity.results.status import MLAGENTS_VERSION, TrainingStatus
from entrain.unity.results.tree import ResultsTree
from entrain.unity.stock_run import StockRun
from entrain.version import __version__

logger = logging.getLogger(__name__)


class FileWriter:
    """See `unity.results.checkpoints.PolicyWriter`."""

    def __init__(self, config: RunConfig, *, run: str) -> None:
        """Write policies of a run.

        Args:
            config: of the run.
            run: its name.
        """
        self._config = config.model_copy(update={"device": "cpu"})
        self._run = run
        self._unsaved: set[str] = set()

    def export(self, policy: Policy, path: Path) -> None:
        """See `PolicyWriter.export`."""
        network = policy_of(self._config, policy.spec, policy.algorithm)
        about = {
            "run": self._run,
            "behaviour": policy.spec.name,
            "env_steps": str(policy.steps),
        }
        export_model(network, path, metadata=about)

    def save(self, policy: Policy, path: Path) -> bool:
        """See `PolicyWriter.save`."""
        name = policy.spec.name
        network = policy_of(self._config, policy.spec, policy.algorithm)
        misfit = (
            writing_misfit(network)
            if isinstance(network, ActorCritic)
            else f"it is trained by algorithm.kind {network.config.algorithm.kind}, not ppo"
        )
        if isinstance(network, ActorCritic) and not misfit:
            optimizer = policy.algorithm["optimizer"]
            save_stock_checkpoint(network, optimizer, path, steps=policy.steps)
        elif name not in self._unsaved:
            self._unsaved.add(name)
            logger.info("policy '%s': no .pt is written for mlagents-learn: %s", name, misfit)
        return not misfit


def make_results(
    folder: RunFolder,
    lock: RunLock,
    config: RunConfig,
    run: StockRun,
    *,
    goes_on: bool,
    is_restored: bool = False,
) -> ResultsRecorder:
    """Makes the recorder of a run that `entrain learn` begins or resumes.

    Args:
        folder: of the run, which the tree lies in.
        lock: of the folder.
        config: of the run.
        run: the same, as settings of ML-Agents.
        goes_on: whether files of the tree that are there are those of an earlier sitting.
        is_restored: whether the run goes on from a checkpoint of ours.
    """
    tree = ResultsTree(folder.path, stem=folder.stem, check=lambda: lock.check(reads=False))
    status = TrainingStatus(torch_version=torch.__version__, entrain_version=__version__)
    if goes_on:
        status.load(tree.status)
    about = {
        "mlagents_version": MLAGENTS_VERSION,
        "entrain_version": __version__,
        "pytorch_version": torch.__version__,
        "numpy_version": metadata.version("numpy"),
    }
    writer = FileWriter(config, run=folder.name)
    outputs = Outputs(tree, writer, status, about=about)
    return ResultsRecorder(run, outputs, clears=not goes_on, waits=is_restored)
