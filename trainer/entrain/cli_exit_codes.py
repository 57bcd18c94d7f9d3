"""The exit codes of all commands, in words, as `entrain --help` ends with them."""

from typing import Final

from entrain.importing import INTERRUPTED

EXIT_CODES: Final = {
    0: "done, or stopped as asked (continue with entrain resume; see stopped_exit_code)",
    1: "a bug in entrain; the traceback says where",
    2: "the command line or the configuration is wrong; nothing was started",
    3: "a checkpoint is missing, damaged or made for another spec",
    4: "cannot listen: port (start again if it was in use), certificate or token",
    5: "no simulator came, or all left for good; start again if others start them",
    6: "a policy diverged: a loss or gradient was not finite; saved in the state before that",
    7: "the disk refuses (full, read-only, folder deleted); start again when it is mended",
    8: "ctl: the run does not answer: not running, certificate; or does not take the token",
    9: "another rank of the run was lost; start all ranks again",
    75: "another trainer has the run folder; start again, in a minute if it has died",
    INTERRUPTED: "interrupted before training began, or a second Ctrl+C forced the end",
}
