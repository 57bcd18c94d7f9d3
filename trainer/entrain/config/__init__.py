"""Every option, how files and command lines set it, and what a person is told when one is wrong."""
