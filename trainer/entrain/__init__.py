"""entrain: simulators dial one trainer over gRPC, and a policy learns from all of them at once.

The command line is the way in (`entrain --help`); simulators use the package `entrain_envs`.
"""

__version__ = "0.2.0"

__all__ = ["__version__"]
