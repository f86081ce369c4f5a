"""The headline on one image says each class once, in right English, and agrees with scores and objects."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from segcore.classes import FRIENDLY_NAMES, class_id
from segcore.errors import LabelError
from segcore.report.verdict import verdict as judge

NOTHING = "There is nothing of the 20 classes to score in this picture, "


class Seen(NamedTuple):
    class_id: int
    area: int
    found: bool
    taken_for: int


def seen(name: str, area: int = 100) -> Seen:
    return Seen(class_id(name), area, True, class_id(name))


def missed(name: str, area: int = 100, taken_for: str = "background") -> Seen:
    return Seen(class_id(name), area, False, class_id(taken_for))


def matrix_of(**pixels: int) -> np.ndarray:
    """int64 (21, 21) of `truth_prediction=pixels`."""
    matrix = np.zeros((21, 21), np.int64)
    for pair, count in pixels.items():
        truth, prediction = (class_id(name) for name in pair.split("_"))
        matrix[truth, prediction] += count
    return matrix


def boundary_of(**values: float) -> np.ndarray:
    boundary = np.full(21, np.nan)
    for name, value in values.items():
        boundary[class_id(name)] = value
    return boundary


BIRD_AND_CAT = {"bird_bird": 90, "cat_cat": 80}
COWS = [seen("cow", 50), seen("cow", 90), missed("cow", 60, "horse"), missed("cow", 70, "horse")]


@pytest.mark.parametrize(
    ("pixels", "objects", "headline"),
    [
        # one class, one object
        ({"dog_dog": 9}, [seen("dog")], "Found the dog."),
        ({"cat_background": 9}, [missed("cat")], "Missed the cat."),
        ({"cat_cat": 49, "cat_background": 51}, [missed("cat")], "Found only part of the cat."),
        ({"cat_cat": 10, "cat_background": 90}, [missed("cat")], "Found only part of the cat."),
        ({"cat_cat": 9, "cat_background": 91}, [missed("cat")], "Missed the cat."),
        ({"cat_dog": 9}, [missed("cat", taken_for="dog")], "Missed the cat (taken for a dog)."),
        ({"boat_aeroplane": 9}, [missed("boat", taken_for="aeroplane")], "Missed the boat (taken for an aeroplane)."),
        ({"cat_background": 9}, [missed("cat", taken_for="cat")], "Missed the cat."),
        # one class, several objects
        ({"bus_bus": 9}, [seen("bus")] * 2, "Found both buses."),
        ({"sheep_background": 9}, [missed("sheep")] * 2, "Missed both sheep."),
        ({"tv_tv": 9}, [seen("tv")] * 3, "Found all 3 TVs."),
        ({"diningtable_diningtable": 3, "diningtable_background": 7}, [missed("diningtable")] * 2,
         "Found only part of both dining tables."),
        ({"sofa_chair": 9}, [missed("sofa", taken_for="chair")] * 3, "Missed all 3 sofas (taken for chairs)."),
        ({"person_person": 9}, [seen("person", 50), seen("person", 60), missed("person", 9)],
         "Found 2 of 3 people (not the smallest)."),
        ({"person_person": 9}, [seen("person", 50), seen("person", 60), missed("person", 99)],
         "Found 2 of 3 people (not the largest)."),
        ({"person_person": 9}, [seen("person", 50), seen("person", 70), missed("person", 60)], "Found 2 of 3 people."),
        ({"person_person": 9}, [seen("person", 50), missed("person", 50)], "Found 1 of 2 people."),
        ({"person_person": 9}, [seen("person", 50), missed("person", 60)], "Found 1 of 2 people (not the larger)."),
        ({"person_person": 9}, [*[seen("person", 100)] * 5, missed("person", 9), missed("person", 10)],
         "Found 5 of 7 people (not the two smallest)."),
        ({"cow_cow": 9, "cow_horse": 9}, COWS, "Found 2 of 4 cows (two taken for horses)."),
        ({"cow_cow": 9, "cow_horse": 2}, COWS[:3], "Found 2 of 3 cows (one taken for a horse)."),
        ({"cow_cow": 9}, [seen("cow", 90), missed("cow", 6, "horse"), missed("cow", 7, "dog")],
         "Found 1 of 3 cows (not the two smallest)."),
        ({"cow_cow": 9}, [seen("cow", 900), *[missed("cow", 9)] * 13], "Found 1 of 14 cows (not the 13 smallest)."),
        # several classes: each stands once, what was missed first, the larger before the smaller
        ({"bottle_background": 30, "diningtable_background": 90, "chair_chair": 50},
         [*[missed("bottle")] * 3, missed("diningtable"), seen("chair")],
         "Missed the dining table and all 3 bottles; found the chair."),
        (BIRD_AND_CAT | {"dog_dog": 30, "dog_background": 70, "person_background": 5},
         [seen("bird"), seen("cat"), missed("dog"), missed("person")],
         "Missed the person; found only part of the dog; found the bird and the cat."),
        (BIRD_AND_CAT, [seen("bird", 50), missed("bird", 9), seen("cat")],
         "Found 1 of 2 birds (not the smaller) and the cat."),
        ({f"{name}_{name}": 9 for name in FRIENDLY_NAMES[1:7]}, [seen(name) for name in FRIENDLY_NAMES[1:7]],
         "Found the aeroplane, the bicycle, the bird, the boat and two more classes."),
        ({f"{name}_{name}": 9 for name in FRIENDLY_NAMES[1:6]}, [seen(name) for name in FRIENDLY_NAMES[1:6]],
         "Found the aeroplane, the bicycle, the bird, the boat and one more class."),
        # what else the model marks
        (BIRD_AND_CAT | {"cat_cow": 5, "cat_bus": 5}, [seen("bird"), seen("cat")],
         "Found the bird and the cat. Also sees a bus and a cow that are not there."),
        ({"cat_cat": 999, "cat_aeroplane": 1}, [seen("cat")],
         "Found the cat. Also sees an aeroplane that is not there."),
        ({"cat_cat": 9991, "cat_cow": 9}, [seen("cat")], "Found the cat."),
        ({"cat_cat": 90, "background_bus": 3, "background_cow": 9, "background_dog": 5, "background_car": 4,
          "background_boat": 2, "background_bird": 1}, [seen("cat")],
         "Found the cat. Also sees a cow, a dog, a car, a bus and two more classes that are not there."),
        # where nothing of the truth is found, a speck is all that a person sees
        ({"chair_background": 9998, "background_bicycle": 2}, [missed("chair")],
         "Missed the chair. Sees a bicycle that is not there."),
        ({"chair_background": 9999, "background_bicycle": 1}, [missed("chair")], "Missed the chair."),
        # what an object was taken for is named once, but named
        ({"cat_dog": 60, "cat_background": 40, "background_cow": 9}, [missed("cat", taken_for="dog")],
         "Missed the cat (taken for a dog). Sees a cow that is not there."),
        ({"sofa_sofa": 40, "sofa_chair": 60}, [missed("sofa", taken_for="chair")],
         "Found only part of the sofa. Also sees a chair that is not there."),
        ({"dog_dog": 20, "background_dog": 30}, [seen("dog")],
         "Found the dog. Most of what it marks as dogs is something else."),
        # crowds are no objects; without pixels left, an object is missed all the same
        ({"person_person": 9, "dog_dog": 5}, [seen("dog")], "Found the people and the dog."),
        ({"dog_dog": 5}, [seen("dog"), missed("cat")], "Missed the cat; found the dog."),
    ],
)  # fmt: skip
def test_headline_where_objects_are_told_apart(pixels, objects, headline):
    assert judge(matrix_of(**pixels), boundary_of(), objects=objects).sentence == headline


@pytest.mark.parametrize(
    ("pixels", "headline"),
    [
        ({"cat_cat": 9, "dog_dog": 9}, "Found: cat and dog."),
        ({"cat_cat": 50, "cat_background": 50}, "Found: cat."),
        ({"cat_cat": 49, "cat_background": 51}, "Partly found: cat."),
        ({"cat_cat": 9, "cat_background": 91}, "Missed: cat."),
        ({"cat_cow": 5, "dog_dog": 5}, "Missed: cat; found: dog. Also sees a cow that is not there."),
        ({"cat_cow": 5}, "Missed: cat. Sees a cow that is not there."),
        ({"background_background": 9}, NOTHING + "and the model rightly found nothing."),
        ({"background_background": 9991, "background_cat": 9}, NOTHING + "and the model found next to nothing."),
        ({"background_background": 9, "background_cat": 1}, NOTHING + "but the model sees a cat."),
        ({}, "This picture cannot be scored: its ground truth leaves every pixel out."),
    ],
)
def test_headline_of_label_maps(pixels, headline):
    assert judge(matrix_of(**pixels), boundary_of()).sentence == headline


@pytest.mark.parametrize(
    ("matrix", "name", "objects", "headline"),
    [
        ([[5, 0], [1, 4]], "dog", None, "Found: dog. Edges are tight."),
        ([[5, 0], [4, 1]], "any object", None, "Partly found: objects. Edges are tight."),
        ([[5, 0], [5, 0]], "TV", None, "Missed: TV."),
        ([[5, 0], [1, 4]], "dog", [seen("dog")], "Found the dog. Edges are tight."),
        ([[5, 0], [1, 4]], "any object", [seen("dog"), missed("cat", 9)],
         "Found 1 of 2 objects (not the smaller). Edges are tight."),
        ([[5, 0], [5, 0]], "any object", [missed("dog", taken_for="cat")], "Missed the only object."),
        ([[5, 0], [0, 0]], "dog", [], "There is no dog to score in this picture, and the model rightly found nothing."),
        ([[5, 5], [0, 0]], "any object", [], "There are no objects to score in this picture, but the model sees some."),
    ],
)  # fmt: skip
def test_headline_in_binary_mode(matrix, name, objects, headline):
    assert judge(matrix, [0.9, 0.7], ("background", name), objects).sentence == headline


@pytest.mark.parametrize(("edges", "word"), [(0.6, "tight"), (0.599, "fair"), (0.35, "fair"), (0.349, "loose")])
def test_edges(edges, word):
    verdict = judge(matrix_of(cat_cat=9, dog_dog=9), boundary_of(cat=edges, dog=edges))
    assert verdict.sentence == f"Found: cat and dog. Edges are {word}."


def test_each_class_is_judged_once():
    pixels = {"person_person": 90, "dog_dog": 50, "dog_background": 50, "cat_cat": 20, "cat_background": 80}
    matrix = matrix_of(background_background=900, chair_chair=9, chair_background=91, **pixels)
    verdict = judge(matrix, boundary_of(background=0.9, person=0.5, dog=0.4, cat=0.33, chair=0.1))
    assert (verdict.found, verdict.partly, verdict.missed, verdict.extra) == ((12, 15), (8,), (9,), ())
    assert verdict.edges == "fair" and verdict.edges_iou == pytest.approx(0.41)
    objects = [seen("person"), missed("dog"), missed("cat"), missed("chair")]
    verdict = judge(matrix, boundary_of(), objects=objects)
    assert (verdict.found, verdict.partly, verdict.missed) == ((15,), (8, 12), (9,))


def test_errors():
    with pytest.raises(LabelError, match="the matrix has 2.*21 boundary IoUs and 21 names"):
        judge([[1, 0], [0, 1]], boundary_of())
