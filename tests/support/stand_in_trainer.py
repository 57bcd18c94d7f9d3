"""A program that stands in for `entrain train`: it has the run's lock until it is asked to end.

    stand_in_trainer.py train FILE --name NAME --runs-directory RUNS ...

A file with `seed: 102` has it end with exit code 2 at once.
"""

import signal
import sys
from pathlib import Path

from entrain.run.folder import RunFolder
from entrain.run.summary import RunSummary


def main(words: list[str]) -> int:
    """Be a run."""
    text = Path(words[1]).read_text()
    runs, name = words[words.index("--runs-directory") + 1], words[words.index("--name") + 1]
    if "seed: 102" in text:
        sys.stderr.write("entrain: it cannot be done\n")
        return 2
    folder, _ = RunFolder.named(Path(runs), name)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    with folder.lock():
        folder.config.write_text(text)
        with folder.log.open("a") as log:
            log.write("begun\n")
        signal.sigwait([signal.SIGTERM])
        RunSummary(
            name=name, outcome="stopped", started_at=0.0, ended_at=1e12, seconds=1.0,
            simulators=(), software=(), policies={}, counters={},
        ).save(folder.summary)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
