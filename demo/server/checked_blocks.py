"""Gradio's Blocks with hooks around each event of a visitor, and for what browsers get of the page.

It overrides methods that Gradio does not document; `gradio_internals` checks at start that they are there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import gradio as gr

from demo.server.failures import misfit
from demo.server.gradio_internals import Block
from demo.texts import language_of

_accepted: ContextVar[str | None] = ContextVar("accepted", default=None)  # of the event that is being answered


def current_language() -> str:
    """Return the language of the visitor whose event is being answered; English outside events."""
    return language_of(_accepted.get())


class Call(NamedTuple):
    """A requested event, before its inputs are read.

    function: None if the browser handles the event by itself. components, values: its inputs. has_state: whether it
    reads or changes a `gr.State`. triggers: ids of components and names of events that cause it.
    """

    function: Callable | None
    components: Sequence[Block]
    values: list[Any]
    has_state: bool
    triggers: Sequence[tuple[int | None, str]]
    session: Any

    def is_caused_by(self, component: Block) -> bool:
        return any(number == component._id for number, _ in self.triggers)


class CheckedBlocks(gr.Blocks):
    """Blocks with hooks to check each event before its inputs are read, and to change its answers and its errors."""

    def check_call(self, call: Call) -> None:
        """Raise gr.Error if an event must not be answered. By default all are answered."""

    def failed(self, error: Exception) -> Exception:
        """Return the error to show to a visitor. By default it is the raised error."""
        return error

    def sent(self, component: Block, value: Any) -> Any:
        """Return the value of an output to send to the browser. By default it is the value."""
        return value

    def shown(self, config: Any) -> Any:
        """Return the config to send to browsers. By default it is the page's own, `own_config`."""
        return config

    def own_config(self) -> Any:
        """Return the config of components, layout and events as Gradio makes it."""
        return super().get_config_file()

    def get_config_file(self) -> Any:
        return self.shown(self.own_config())

    async def process_api(
        self, block_fn: Any, *args: Any, event_data: gr.EventData | None = None, request: Any = None, **kwargs: Any
    ) -> Any:
        _accepted.set(getattr(request, "headers", {}).get("accept-language"))
        if event_data is not None:
            # The page needs only the index of an image. Gradio would refuse the other data if it names a missing file,
            # for example after the page was started again.
            told = event_data._data
            event_data._data = {"index": told.get("index") if isinstance(told, dict) else None, "value": None}
        try:
            return await super().process_api(block_fn, *args, event_data=event_data, request=request, **kwargs)  # type: ignore[misc]
        except Exception as error:
            shown = self.failed(error)
            if shown is error:
                raise
            raise shown from error

    async def preprocess_data(self, block_fn: Any, inputs: list, state: Any, *args: Any, **kwargs: Any) -> Any:
        has_state = any(block.stateful for block in (*block_fn.inputs, *block_fn.outputs))
        self.check_call(Call(block_fn.fn, block_fn.inputs, inputs, has_state, block_fn.targets, state))
        try:
            return await super().preprocess_data(block_fn, inputs, state, *args, **kwargs)
        except gr.Error as error:  # it is a ValueError, which is handled below
            if error.print_exception:  # raised by a component
                raise misfit() from error
            raise
        except (ValueError, OSError) as error:  # inputs that do not fit their components, or invalid paths
            raise misfit() from error

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        data = await super().postprocess_data(block_fn, predictions, state)
        return [self.sent(block, value) for block, value in zip(block_fn.outputs, data, strict=True)]
