"""The program: `python -m segcore`, or `segcore` where it is installed."""

import os
import signal
import sys


def main() -> int:
    """Run the command line. Returns the exit status.

    Importing it takes a moment, in which Ctrl-C would be told with a traceback, or taken by a library for its own.
    """
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # else it is ignored, as of what runs in the background
        signal.signal(signal.SIGINT, _stop)
    from .cli.main import main as run

    signal.signal(signal.SIGINT, usual)
    return run()


def _stop(*_: object) -> None:
    os.write(2, b"segcore: stopped\n")
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
