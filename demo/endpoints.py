"""The two endpoints for programs: `/segment` and `/evaluate_coco`, usable with gradio_client."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from demo.answers.datasets import Datasets
from demo.answers.model_pool import ModelPool
from demo.markup import tables
from demo.server.gradio_internals import current_sessions, has_left
from demo.settings import AUTOMATIC_THRESHOLD
from demo.tabs.controls import photograph_input
from demo.tabs.downloads import new_folder
from demo.tabs.events import NETWORK, has_session, visitor_of
from demo.waiting.visits import waiting
from segcore.classes import ANY_OBJECT
from segcore.errors import SegcoreError
from segcore.inference.task import MULTICLASS
from segcore.models.catalogue import AUTO

_PROGRESS = gr.Progress()  # Gradio passes a progress object to functions with this default


class Endpoints:
    """Functions from plain values to images and dictionaries. Errors are messages for people."""

    def __init__(self, pool: ModelPool, datasets: Datasets) -> None:
        self.pool = pool
        self.datasets = datasets

    def wire(self) -> None:
        """Add both endpoints to the page. They are invisible."""
        with gr.Group(visible=False):
            image = photograph_input(label="image")
            image_id = gr.Textbox(label="image_id")
            mode = gr.Textbox(MULTICLASS, label="mode")
            class_name = gr.Textbox(ANY_OBJECT, label="class_name")
            threshold = gr.Number(AUTOMATIC_THRESHOLD, label="threshold")
            protocol = gr.Textbox("original", label="protocol")
            model = gr.Textbox(AUTO, label="model")
            overlay, truth, errors = (gr.Image(format="png", label=each) for each in ("overlay", "truth", "errors"))
            result = gr.JSON(label="result")
            call = gr.Button()
        call.click(
            self.segment, [image, mode, class_name, threshold, model], [overlay, result], api_name="segment", **NETWORK
        )
        call.click(
            self.evaluate_coco,
            [image_id, mode, class_name, protocol, model],
            [overlay, truth, errors, result],
            api_name="evaluate_coco",
            **NETWORK,
        )

    async def segment(
        self,
        request: gr.Request,
        image: str,
        mode: str = MULTICLASS,
        class_name: str = ANY_OBJECT,
        threshold: float = AUTOMATIC_THRESHOLD,
        model: str = AUTO,
        progress: gr.Progress = _PROGRESS,
    ) -> tuple[np.ndarray, dict]:
        """Find people, animals, vehicles and household things in a photograph, pixel by pixel.

        Args:
            image: the photograph. Addresses are not opened.
            mode: "multiclass" for all classes, or "binary" for one class against everything else.
            class_name: for "binary": one of PASCAL VOC's 20 classes, or "any" for any object.
            threshold: for "binary": the least probability of a pixel, 0 to 1; -1 for the most likely class.
            model: "auto", or a name from `segcore models`.

        Returns:
            the photograph with the classes painted over it
            for each class its pixels, share of the photograph, mean confidence and mask, as `segcore predict` writes it
        """
        from demo.answers import photographs

        if image is None:
            raise gr.Error("Give an image.", print_exception=False)
        asked = self.pool, Path(image), mode, class_name, threshold, model
        return await self._in_turn(request, progress, (model, "squeeze"), photographs.segment_for_program, *asked)

    async def evaluate_coco(
        self,
        request: gr.Request,
        image_id: str,
        mode: str = MULTICLASS,
        class_name: str = ANY_OBJECT,
        protocol: str = "original",
        model: str = AUTO,
        progress: gr.Progress = _PROGRESS,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
        """Score the model on one image of the page's data set, whose correct answer is known.

        Args:
            image_id: the image's number in COCO, or its name in PASCAL VOC.
            mode: "multiclass" for all classes, or "binary" for one class against everything else.
            class_name: for "binary": one of PASCAL VOC's 20 classes, or "any" for any object.
            protocol: how the scores are computed: "original", "torchvision" or "report".
            model: "auto", or a name from `segcore models`.

        Returns:
            the photograph with the prediction painted over it
            the photograph with the truth painted over it
            the map of errors
            the scores, by the keys of `segcore evaluate`
        """
        from demo.answers import ground_truth

        if not image_id:
            raise gr.Error("Give the id of an image.", print_exception=False)

        def evaluated(*asked: str) -> tuple:
            dataset = self.datasets.get(self.datasets.default)  # it may have to be read from disk
            return ground_truth.evaluate_for_program(self.pool, dataset, *asked)

        asked = image_id, mode, class_name, protocol, model
        return await self._in_turn(request, progress, (model, protocol), evaluated, *asked)

    async def _in_turn(
        self, request: gr.Request, progress: gr.Progress, kind: Hashable, work: Callable, *args: Any
    ) -> Any:
        turns = self.pool.turns
        try:
            answer = partial(_as_files, work, *args)
            ticket = turns.submit(visitor_of(request), answer, kind=kind, has_left=has_left())
            async for place in waiting(turns, ticket):
                progress(None, desc=tables.place_in_words(place.ahead, place.seconds))
            return ticket.future.result()
        except SegcoreError as error:
            raise gr.Error(str(error), print_exception=False) from error
        finally:
            if not has_session(request):  # no later call uses it, and it would displace a visitor's session
                current_sessions().forget_state(request.session_hash)


def _as_files(work: Callable, *args: Any) -> tuple:
    """Run `work` and write its images as PNG files. Gradio would take four times as long for files 10 % smaller."""
    return tuple(_file(each) if isinstance(each, np.ndarray) else each for each in work(*args))


def _file(picture: np.ndarray) -> str:
    folder = new_folder()
    folder.mkdir(parents=True)
    path = folder / "image.png"
    Image.fromarray(picture).save(path, compress_level=1)
    return str(path)
