"""In binary mode one evaluation gives what evaluations at every threshold would give."""

from dataclasses import replace

import numpy as np
import pytest

from segcore.evaluation import evaluate
from segcore.inference.task import Task
from segcore.report import threshold_chart
from segcore.report.html import html_report
from tests.helpers.runs import make_run, refining
from tests.helpers.samples import CAT, RIDERS


@pytest.mark.slow
@pytest.mark.parametrize("class_name", ["any", "person"])
def test_the_curve_has_the_scores_of_each_threshold(quick, nine_coco, class_name):
    run = make_run(quick, nine_coco, task=Task("binary", class_name), ids=[CAT, RIDERS])
    curve = evaluate.evaluate(run).to_dict()["threshold_curve"]
    for threshold in (0, 0.125, 0.5, 0.75, 1):
        own = evaluate.evaluate(replace(run, task=Task("binary", class_name, threshold))).to_dict()
        place = curve["thresholds"].index(threshold)
        for key in ("precision", "recall", "f1", "iou"):
            assert curve[key][place] == own["per_class"][class_name][key], (threshold, key)
        assert own["threshold_curve"] == curve  # the threshold decides nothing of it
    best = curve["best"]
    assert best["iou"] == max(value for value in curve["iou"] if value is not None)


def test_only_probabilities_of_binary_mode_have_a_curve(quick, nine_coco):
    multiclass = evaluate.evaluate(make_run(quick, nine_coco, ids=[CAT]))
    assert multiclass.to_dict()["threshold_curve"] is None
    assert multiclass.per_image.by_threshold.size == 0
    refined = make_run(refining(quick), nine_coco, task=Task("binary"), ids=[CAT])
    assert evaluate.evaluate(refined).to_dict()["threshold_curve"] is None  # it decides by other probabilities


@pytest.mark.slow
def test_the_report_shows_it_and_names_the_best_threshold(quick, nine_coco):
    run = make_run(quick, nine_coco, task=Task("binary", "person"), ids=[CAT, RIDERS])
    record = evaluate.evaluate(run).to_dict()
    page, best = html_report(record), record["threshold_curve"]["best"]
    assert "Scores against the threshold" in page
    assert f"The best threshold is {best['threshold']:.2f}, by F1 and IoU alike: IoU {best['iou']:.2f}" in page
    assert "Scores against the threshold" not in html_report(record | {"threshold_curve": None})
    nowhere = record | {"threshold_curve": record["threshold_curve"] | {"best": None}}
    assert "No threshold finds any pixel of person." in threshold_chart.threshold_chart(nowhere)


def test_counts_by_threshold_add_up_to_the_pixels(quick, nine_coco):
    run = make_run(quick, nine_coco, task=Task("binary"), ids=[CAT, RIDERS])
    counts = evaluate.evaluate(run).per_image
    assert np.array_equal(counts.by_threshold.sum(axis=2), counts.matrix.sum(axis=2))
