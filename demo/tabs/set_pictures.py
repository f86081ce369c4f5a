"""The pictures of a scored set: the worst, the best, the doubtful, and those behind one class. A click opens one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from demo.answers.datasets import Datasets
from demo.answers.samples import Thumbnails
from demo.markup import set_tables
from demo.tabs import controls, events
from segcore.errors import SegcoreError

ALL_CLASSES, ANYTHING = "All classes", "Anything"
WORST = "The worst: pick one to see why"
WORST_OF_MAPS = "The worst: pick one to see its truth and what the model makes of it"
NO_SCORES = "There are no scores, or no longer: score the images first."


class SetPictures:
    """Layout, wiring and callbacks of the galleries. The outcome that they show is in `shown` of the tab."""

    def __init__(self, datasets: Datasets, thumbnails: Thumbnails) -> None:
        self.datasets = datasets
        self.thumbnails = thumbnails
        # Kept in the browser together with the galleries, so that a click refers to what the visitor saw.
        self.pictured = gr.JSON(visible=False)  # the settings of the scores, and the ids of the images in each gallery
        self.sent = gr.JSON(visible=False)  # the settings of the scores, and the id of the image to open
        with gr.Column(visible=False, min_width=0) as self.column:
            with gr.Row():
                self.of_class = _class_choice(ALL_CLASSES, "Images behind the score of", "set-class")
                self.taken_for = _class_choice(ANYTHING, "Taken for", "set-taken-for")
            self.worst = controls.gallery(WORST, "set-worst", columns=3)
            self.best = controls.gallery("The highest scores", "set-best", columns=3)
            self.doubtful = controls.gallery("Look at the annotation", "set-doubtful", columns=3)
            self.doubt = controls.html("set-doubt", set_tables.DOUBT)
        self.galleries = self.worst, self.best, self.doubtful
        self.outputs = [*self.galleries, self.doubt, self.column, self.pictured, self.of_class, self.taken_for]

    def wire(self, shown: gr.State, show_image: Callable[[gr.JSON, list[Any]], None]) -> None:
        """shown: the outcome. show_image(sent, picks): as in `WholeSetTab`."""
        asked = [shown, self.of_class, self.taken_for, self.pictured]
        answered = [self.worst, self.pictured, self.taken_for]
        for choice, function in ((self.of_class, self.on_class), (self.taken_for, self.on_taken_for)):
            chosen = choice.input(function, asked, answered, **events.LIGHT, trigger_mode="always_last")
            controls.deselect([self.worst], chosen.then)
        picked = [
            gallery.select(function, self.pictured, self.sent, **events.LIGHT)
            for gallery, function in zip(self.galleries, (self.on_worst, self.on_best, self.on_doubtful), strict=True)
        ]
        show_image(self.sent, picked)

    def updates(self, outcome: Any) -> dict:
        """Return the updates that show a new outcome. Label maps alone doubt no truth: that needs probabilities."""
        has_doubts = bool(outcome.doubtful)
        return {
            self.column: gr.update(visible=True),
            self.worst: self._worst(outcome),
            self.best: gr.update(value=self._pictures(outcome, outcome.best), visible=bool(outcome.best)),
            self.doubtful: gr.update(
                value=self._pictures(outcome, outcome.doubtful, set_tables.doubt_caption), visible=has_doubts
            ),
            self.doubt: gr.update(visible=has_doubts),
            self.of_class: gr.update(choices=set_tables.choices(outcome.classes, ALL_CLASSES), value=""),
            self.taken_for: gr.update(choices=set_tables.choices([], ANYTHING), value=""),
            self.pictured: [
                controls.settings_of(outcome.wanted),
                *map(_ids, (outcome.worst, outcome.best, outcome.doubtful)),
            ],
        }

    def _worst(self, outcome: Any) -> dict:
        worst = WORST_OF_MAPS if outcome.maps else WORST
        worst = "Where the two differ most" if outcome.comparison else worst
        return gr.update(value=self._pictures(outcome, outcome.worst), label=worst)

    def _pictures(self, outcome: Any, rows: list[dict], caption: Any = set_tables.image_caption) -> list:
        dataset = self.datasets.get(outcome.wanted.dataset)
        samples = [self.thumbnails.sample(dataset, dataset.image(row["image_id"])) for row in rows]
        return [(str(sample.thumbnail), caption(sample, row)) for sample, row in zip(samples, rows, strict=True)]

    # ---- the images behind a score

    def on_class(self, outcome: Any, name: str | None, _: str | None, pictured: Any) -> dict:
        """Show the images behind a class, and offer what its pixels are taken for."""
        others = outcome.taken_for(name) if outcome and name else []
        offered = gr.update(choices=set_tables.choices(others, ANYTHING), value="")
        return self.on_taken_for(outcome, name, None, pictured) | {self.taken_for: offered}

    def on_taken_for(self, outcome: Any, name: str | None, taken_for: str | None, pictured: Any) -> dict:
        """Show the images behind a class, or a cell of the confusion matrix, in place of the worst; or the worst."""
        if outcome is None or not isinstance(pictured, list) or len(pictured) < 2:
            raise gr.Error(NO_SCORES, print_exception=False)
        rows = outcome.behind(name, taken_for or None) if name else outcome.worst
        try:
            if name:
                label = set_tables.behind_label(name, taken_for or None)
                worst = gr.update(value=self._pictures(outcome, rows, set_tables.behind_caption), label=label)
            else:
                worst = self._worst(outcome)
        except SegcoreError as error:  # the images may be gone since they were scored
            raise gr.Error(str(error), print_exception=False) from error
        return {self.worst: worst, self.pictured: [pictured[0], _ids(rows), *pictured[2:]]}

    # ---- the image to open

    def on_worst(self, event: gr.SelectData, pictured: Any) -> list:
        return _sent(pictured, 1, event.index)

    def on_best(self, event: gr.SelectData, pictured: Any) -> list:
        return _sent(pictured, 2, event.index)

    def on_doubtful(self, event: gr.SelectData, pictured: Any) -> list:
        return _sent(pictured, 3, event.index)


def _class_choice(everything: str, label: str, elem_id: str) -> gr.Dropdown:
    """Lay out a choice of a class. The classes come with the scores."""
    choices = set_tables.choices([], everything)
    choice = gr.Dropdown(choices, value="", label=label, filterable=False, min_width=140, elem_id=elem_id)
    return controls.unchecked(choice)


def _ids(rows: list[dict]) -> list[str]:
    return [str(row["image_id"]) for row in rows]


def _sent(pictured: Any, group: int, index: Any) -> list:
    """Return the settings of the scores and the id of the picked image. Both come from the browser unchecked."""
    try:
        return [pictured[0], pictured[group][index]]
    except (TypeError, LookupError) as error:
        raise gr.Error(controls.NO_IMAGE, print_exception=False) from error
