"""Several photographs at once, in the tab for a visitor's photograph: a strip of overlays, and a ZIP with all files."""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.answers.model_pool import ModelPool
from demo.markup import tables
from demo.server.gradio_internals import has_left, with_preprocess
from demo.tabs import controls, downloads, events
from demo.tabs.visitor_requests import FAILED
from demo.waiting.visits import waiting
from segcore.errors import Cancelled, ImageError, SegcoreError, UsageError

if TYPE_CHECKING:
    from demo.answers.several import Batch

MOST = 20  # photographs at once
HELP = (
    "Up to {most} photographs, {megabytes:g} MB together, with the mode, class, threshold and options chosen here. "
    "The ZIP has a label map, an overlay and a JSON file for each."
)


class SeveralPhotographs:
    """Layout, wiring and callbacks. The visitor's photographs are in `batch`, in the visitor's session."""

    def __init__(self, pool: ModelPool) -> None:
        self.pool = pool
        self._lay_out()

    def _lay_out(self) -> None:
        self.batch = gr.State(None)
        self.sources = gr.JSON(visible=False)  # for connection.js: the uploads' paths, in the order of the gallery
        with gr.Accordion("Several photographs at once", open=False, elem_id="several"):
            gr.Markdown(HELP.format(most=MOST, megabytes=self.pool.limits.max_bytes / 2**20))
            files = gr.File(file_count="multiple", label="Photographs", height=140, elem_id="several-files")
            self.files = with_preprocess(files, _paths)
            self.progress = controls.html("several-progress")
            self.stop = gr.Button("Stop", size="sm", variant="stop", visible=False, elem_id="several-stop")
            self.notice = controls.html("several-notice")
            with gr.Column(visible=False) as self.results:
                self.gallery = controls.gallery("Pick one to see it large", "several-gallery", columns=3)
                downloads.download_buttons({"zip": "All files (ZIP)"}, self.write_zip, [self.batch])

    def wire(self, how: Sequence[Any]) -> None:
        """Wire the events. how: the components with the values of `several.How`."""
        outputs = [self.batch, self.sources, self.files, self.progress, self.stop, self.notice, self.results]
        given = self.files.upload(
            self.on_files,
            [self.files, *how],
            [*outputs, self.gallery],
            **events.NETWORK | {"api_visibility": "private", "show_progress": "hidden"},
        )
        idle = [(self.progress, ""), (self.stop, gr.update(visible=False)), (self.files, gr.update(visible=True))]
        events.ends_on_failure(given, idle, self.notice, FAILED)
        self.stop.click(None, None, self.stop, js=events.updated(interactive=False), api_visibility="private")
        self.stop.click(self.on_stop, self.batch, None, **events.LIGHT)

    async def on_files(
        self,
        paths: list[str],
        mode: str,
        class_name: str,
        automatic: bool,
        threshold: float | None,
        sharp: bool,
        model: str,
        resize: str,
        tta: bool,
        request: gr.Request,
    ) -> AsyncIterator[dict]:
        """Photographs were given: segment one after the other, and show each as soon as it is ready."""
        from demo.answers.several import Batch, How

        how = How(mode, class_name, automatic, threshold, sharp, model, resize, tta)
        batch = Batch(downloads.new_folder(), [Path(path) for path in paths[:MOST]])
        left_out = f"Only the first {MOST} of {len(paths)} photographs were taken." if len(paths) > MOST else ""
        yield {
            self.batch: batch,
            self.files: gr.update(value=None, visible=False),
            self.stop: gr.update(visible=True, interactive=True),
            self.notice: "",
            self.results: gr.update(visible=False),
        }
        async with aclosing(self._added(batch, how, request)) as updates:
            async for update in updates:
                yield update
        sentences = [left_out, *batch.failed]
        yield {
            self.files: gr.update(visible=True),
            self.progress: "",
            self.stop: gr.update(visible=False),
            self.notice: tables.notice("\n".join(filter(None, sentences)), kind="error" if batch.failed else "info"),
        }

    async def _added(self, batch: Batch, how: Any, request: gr.Request) -> AsyncGenerator[dict]:
        """Add one photograph after the other to the batch. One that is broken leaves the others as they are."""
        turns, left = self.pool.turns, has_left()
        for number, source in enumerate(batch.sources):
            if batch.stop.is_set():
                return
            text = f"Photograph {number + 1} of {len(batch.sources)}"
            yield {self.progress: tables.bar(f"{text}.", number / len(batch.sources))}
            try:
                work = functools.partial(batch.add, self.pool, number, how)
                ticket = turns.submit(events.visitor_of(request), work, kind=how[-3:], has_left=left)
                async with aclosing(waiting(turns, ticket)) as places:
                    async for place in places:
                        said = f"{text}: {tables.place_in_words(place.ahead, place.seconds)}"
                        yield {self.progress: tables.bar(said, number / len(batch.sources))}
                ticket.future.result()
            except Cancelled:
                return
            except ImageError as error:
                batch.failed.append(f"{source.name} was left out: {error}.")
                continue
            except SegcoreError as error:  # the next photographs would meet it too
                batch.failed.append(str(error))
                return
            except OSError as error:
                print(f"segcore: a visitor's files could not be written: {error}", file=sys.stderr)
                batch.failed.append(downloads.NO_ROOM)
                return
            yield {
                self.results: gr.update(visible=True),
                self.gallery: [(str(each.small), each.caption) for each in batch.done],
                self.sources: [str(each.source) for each in batch.done],
            }

    def on_stop(self, batch: Batch | None) -> None:
        """Stop after the current photograph. Those that are ready stay."""
        if batch:
            batch.stop.set()

    def write_zip(self, _: str, folder: Path, batch: Batch | None) -> Path:
        """Write the ZIP of all files."""
        if batch is None:
            raise UsageError("There are no photographs, or no longer: give some first.")
        return batch.write_zip(folder)


def _paths(given: Any) -> list[str]:
    """Return the paths of the uploaded files, in place of Gradio's `preprocess`, which leaves temporary files."""
    return [each.path for each in getattr(given, "root", [given]) if each is not None]
