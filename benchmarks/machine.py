"""What else a machine does while something is measured."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Load:
    """How busy the processors are."""

    cores: int
    """That this process may use."""

    busy: float
    """Cores at work in the last second, whoever's work it is."""

    average: float
    """Programs that wanted to run, in the last minute."""

    @classmethod
    def now(cls, *, second: float = 1.0) -> "Load":
        """Look for a second, and do nothing."""
        before = busy_s()
        time.sleep(second)
        busy = (busy_s() - before) / second
        return cls(len(os.sched_getaffinity(0)), busy, os.getloadavg()[0])

    def __str__(self) -> str:
        return (
            f"{self.busy:.1f} of {self.cores} cores busy, load average {self.average:.1f} "
            "in the last minute"
        )

    @property
    def is_quiet(self) -> bool:
        """Whether what is measured now can be trusted."""
        return self.busy < 0.2 * self.cores


def busy_s() -> float:
    """Processor time that all programs together have taken since the machine started."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _waiting, interrupts, soft = (int(each) for each in fields[:7])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def described() -> str:
    """The processor and the versions that figures depend on."""
    import grpc
    import numpy
    import torch

    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return (
        f"{len(models)} x {models[0] if models else platform.machine()}, Python "
        f"{platform.python_version()}, torch {torch.__version__}, numpy {numpy.__version__}, "
        f"grpcio {grpc.__version__}"
    )
