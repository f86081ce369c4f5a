"""What the tabs of one photograph show for the current settings: the picture, the tables, and the scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from demo.answers.samples import Sample
from demo.markup import tables
from demo.server.checked_blocks import current_language
from demo.tabs import events
from demo.texts.headlines import headline
from demo.waiting.visits import Visit
from segcore.errors import LabelError

if TYPE_CHECKING:
    from demo.answers.ground_truth import Compared
    from demo.answers.photographs import Shown
    from segcore.truth.supplied import OwnTruth


class PhotographLook(NamedTuple):
    """The outputs of a LOOK event but the notice, by the names of their components in PhotographTab."""

    viewer: dict
    credit: str
    verdict: str
    warning: str
    table: str
    overall: str
    per_class: str
    provenance: str
    read_as: str
    given: dict
    score_downloads: dict
    truth_notice: str


class ComparedLook(NamedTuple):
    """The outputs of a LOOK event but the notice, by the names of their components in GroundTruthTab."""

    viewer: dict
    credit: str
    verdict: str
    warning: str
    overall: str
    per_class: str
    provenance: str


class PageOfImages(NamedTuple):
    """A page of the gallery, by the names of the components in GroundTruthTab."""

    gallery: list[tuple[str, str]]  # thumbnails and captions
    offered: list | None  # [source, image ids]
    page_number: int
    where: str
    pager: dict


def own_truth(visit: Visit) -> OwnTruth | None:
    """Return the visitor's truth if it belongs to the shown photograph."""
    key, truth = visit.truth or (None, None)
    return truth if key == visit.shown.key else None


def photograph_look(shown: Shown, truth: OwnTruth | None, how: Sequence[Any], sample: Sample | None) -> PhotographLook:
    """Return the prediction, compared with the visitor's truth if there is one and it fits the task.

    sample: credit and caption of a photograph that ships with the code; None for any other.
    """
    from demo.answers import ground_truth, photographs

    *task, sharp = how
    asked = photographs.task_of(*events.task_of(task), shown.result.categories)
    alone = photographs.view_photograph(shown, asked, sharp)
    look = PhotographLook(
        viewer=alone.viewer,
        credit=tables.credit(sample.credit if sample else None),
        verdict="",
        warning=tables.fails(sample, shown.result.provenance),
        table=tables.found(alone),
        overall="",
        per_class="",
        provenance=tables.provenance(alone),
        read_as="",
        given=gr.update(visible=truth is not None),
        score_downloads=gr.update(visible=False),
        truth_notice="",
    )
    if truth is None:
        return look
    look = look._replace(read_as=tables.own_truth(truth.file_name, truth.read_as(asked)))
    try:
        view = ground_truth.view_own_truth(shown, truth, asked, sharp)
    except LabelError as error:
        return look._replace(verdict=tables.notice(str(error), kind="error"))
    return look._replace(
        viewer=view.viewer,
        verdict=tables.verdict(headline(view.judgement, current_language())),
        warning=tables.notice(view.warning) + look.warning,
        overall=tables.overall(view),
        per_class=tables.per_class(view),
        provenance=tables.provenance(view),
        score_downloads=gr.update(visible=True),
    )


def compared_look(compared: Compared, how: Sequence[Any], sample: Sample | None) -> ComparedLook:
    """Return the prediction beside its truth. sample: as in `photograph_look`."""
    from demo.answers import ground_truth, photographs

    *task, sharp = how
    asked = photographs.task_of(*events.task_of(task), compared.result.categories)
    view = ground_truth.view_compared(compared, asked, compared.protocol, sharp)
    return ComparedLook(
        viewer=view.viewer,
        credit=tables.credit(sample.credit if sample else None),
        verdict=tables.verdict(headline(view.judgement, current_language())),
        warning=tables.notice(view.warning) + tables.fails(sample, compared.result.provenance),
        overall=tables.overall(view),
        per_class=tables.per_class(view),
        provenance=tables.provenance(view),
    )
