"""Handles slow requests of visitors: shows the place in the queue, and then tells the page that the answer is ready."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Hashable
from typing import Any

import gradio as gr

from demo.markup import tables
from demo.server import sessions
from demo.server.gradio_internals import has_left
from demo.tabs.controls import html
from demo.tabs.events import ends_on_failure, visitor_of
from demo.waiting.turns import Turns
from demo.waiting.visits import GoneError, Visit
from segcore.errors import Cancelled, SegcoreError

FAILED = "This did not work. Please try again."


class VisitorRequests:
    """A tab's components for slow requests. `visit` keeps the visitor's state; `arrived` changes with each answer."""

    def __init__(self, turns: Turns, name: str) -> None:
        self.turns = turns
        self.name = name
        self.visit = gr.State(Visit())
        self.arrived = gr.State(0)
        self.known = gr.Textbox(visible=False)
        self.waiting = html(f"{name}-waiting")
        self.notice = html(f"{name}-notice")

    @property
    def outputs(self) -> list[Any]:
        """The components that `ask` updates, in this order."""
        return [self.visit, self.arrived, self.waiting, self.notice]

    async def ask(
        self, visit: Visit, request: gr.Request, wanted: Any, work: Callable[[], Any], *, kind: Hashable
    ) -> AsyncIterator[tuple]:
        """Run `work` when it is this visitor's turn. Yields updates of `outputs`; errors become notices."""
        same = gr.skip()
        places = visit.ask(self.turns, visitor_of(request), wanted, work, kind=kind, has_left=has_left())
        try:
            async with contextlib.aclosing(places):
                async for place in places:
                    yield same, same, tables.waiting(place.ahead, place.seconds), ""
        except Cancelled:  # the newer request updates the page
            yield self.same
        except GoneError as error:
            raise sessions.lost() from error
        except SegcoreError as error:
            yield same, same, "", tables.notice(str(error), kind="error")
        else:
            yield self.there(visit)

    def brings_into_view(self, *events: Any, only_errors: bool = False) -> None:
        """After these events, bring the picture or the error message into the browser's view."""
        script = f"() => segcoreBringIntoView({json.dumps(self.name)}, {json.dumps({'onlyErrors': only_errors})})"
        for event in events:
            event(None, None, None, js=script, api_visibility="private")

    def fails_in_words(self, *events: Any) -> None:
        """Show a message and stop waiting if one of these events fails unexpectedly."""
        for event in events:
            ends_on_failure(event, [(self.waiting, "")], self.notice, FAILED)

    @property
    def same(self) -> tuple:
        """Updates that change nothing. If a generator yields nothing, Gradio empties the components."""
        return (gr.skip(),) * len(self.outputs)

    def there(self, visit: Visit) -> tuple:
        """Return updates that make the page show the new answer."""
        return visit, visit.newest, "", ""
