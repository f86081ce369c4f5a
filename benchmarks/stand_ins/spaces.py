"""Stands in for Hugging Face's `spaces` package where there is no ZeroGPU: each call runs in a fork of this process."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


def GPU(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, run in a process that is forked for each call, which sends back what it returns or raises."""

    @functools.wraps(function)
    def in_fork(*arguments: Any) -> Any:
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_answer, args=(there, function, arguments))
        process.start()
        there.close()
        outcome, error = here.recv()
        process.join()
        if error is not None:
            raise error
        return outcome

    return in_fork


def _answer(there: Connection, function: Callable[..., Any], arguments: tuple) -> None:
    try:
        answer = function(*arguments), None
    except Exception as error:  # told to the process that waits for it
        answer = None, error
    there.send(answer)
