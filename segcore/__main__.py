"""The program: `python -m segcore`, or `segcore` where it is installed."""

import os
import signal
import sys


def main() -> int:
    """Run the command line. Returns the exit status.

    Importing the libraries takes a moment. Until then, Ctrl-C prints one line here instead of a traceback.
    """
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # else Ctrl-C is ignored on purpose: a background job
        signal.signal(signal.SIGINT, _stop)
    from .cli.main import main as run

    signal.signal(signal.SIGINT, usual)
    return run()


def _stop(*_: object) -> None:
    os.write(2, b"segcore: stopped\n")
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
