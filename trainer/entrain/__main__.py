"""The program: the command `entrain`, or `python -m entrain` where that is not on the PATH."""

import sys

from entrain.importing import interruptible


def main() -> int:
    """Run the command line of this process; the exit code."""
    with interruptible():
        from entrain import cli  # noqa: PLC0415 - nothing of it before interrupts are quiet
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
