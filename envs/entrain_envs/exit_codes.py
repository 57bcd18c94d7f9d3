"""Exit codes of a simulator.

A trainer that launched the simulator starts it again after FAILURE or any other number, but not
after SUCCESS, USAGE or MISFIT.
"""

SUCCESS = 0
"""The trainer is done, or the simulator said Goodbye after Ctrl+C or SIGTERM."""

FAILURE = 1
"""Something failed that may work next time."""

USAGE = 2
"""The command line is wrong, or asks for an environment that cannot be a simulator."""

MISFIT = 78
"""The trainer refuses this simulator as it is, or the environment failed before its first step was
done and would fail again. The number is EX_CONFIG of sysexits.h, because crashing runtimes use
small numbers (3 is abort() on Windows)."""
