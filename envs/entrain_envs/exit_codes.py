"""What a simulator's exit code tells whoever started it.

A trainer that launched it starts it again after any of them but SUCCESS, USAGE and MISFIT.
"""

SUCCESS = 0
"""The trainer is done, or was told goodbye after Ctrl+C or SIGTERM."""

FAILURE = 1
"""Something went wrong that need not go wrong the next time."""

USAGE = 2
"""The command line is wrong, or asks for an environment that cannot be a simulator."""

MISFIT = 78
"""The trainer refuses this simulator as it is. EX_CONFIG of sysexits.h: small numbers are taken by
runtimes that crash (3 is abort() on Windows)."""
