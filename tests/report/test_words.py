"""What is said of an evaluation is true, in right English, and says no more than the numbers do."""

from __future__ import annotations

import pytest

from segcore.classes import FRIENDLY_NAMES
from segcore.report import differences, terms, words
from tests.helpers.records import binary_record, comparison, difference, record, reliability, size_counts


def told(findings: list[str], beginning: str) -> str:
    """The one finding that begins so."""
    (found,) = [each for each in findings if each.startswith(beginning)]
    return found


# ---- names and numbers


def test_plurals():
    assert [terms.plural(name) for name in FRIENDLY_NAMES[1:]] == [
        *("aeroplanes", "bicycles", "birds", "boats", "bottles", "buses", "cars", "cats", "chairs", "cows"),
        *(
            "dining tables",
            "dogs",
            "horses",
            "motorbikes",
            "people",
            "potted plants",
            "sheep",
            "sofas",
            "trains",
            "TVs",
        ),
    ]
    assert terms.plural("any object") == "objects"
    own = ("sky", "key", "box", "bench", "bush")
    assert [terms.plural(name) for name in own] == ["skies", "keys", "boxes", "benches", "bushes"]


def test_friendly_names_of_a_record():
    assert [terms.friendly(name) for name in ("tvmonitor", "diningtable", "background", "any")] == [
        *("TV", "dining table", "background", "any object")
    ]


def test_numbers():
    assert terms.signed(0.0812) == "+0.081"
    assert terms.signed(-0.02) == "−0.020"
    assert [terms.number(value) for value in (0.5, 21, None)] == ["0.5000", "21", "N/A"]
    assert [terms.percent(share) for share in (0, 0.004, 0.244, 1)] == ["0 %", "under 1 %", "24 %", "100 %"]


def test_binary_mode_has_another_name_for_the_headline():
    assert terms.score_words("foreground_mean_iou")[0] == "Mean IoU of the objects"
    assert terms.score_words("foreground_mean_iou", "person")[0] == "IoU of person"


# ---- the headline


def test_headline_with_its_interval():
    # IoU: cat 700 / 1061, dog 400 / 740, sofa 300 / 500, TV 98 / 100, chair 0 / 120
    assert words.findings(record())[0] == (
        "The mean IoU of the objects is 0.56 (95 % interval 0.54 to 0.58) over 100 images."
    )


@pytest.mark.parametrize(("images", "spread"), [(12, 0.01), (5000, 0.06)])
def test_headline_is_said_with_caution_where_little_is_known(images, spread):
    known = "0.55 and 0.57" if spread == 0.01 else "0.50 and 0.62"
    assert words.findings(record(images=images, spread=spread, per_image=[]))[0] == (
        f"The mean IoU of the objects is 0.56. With {images:,} images it is only known to be between {known}."
    )


def test_headline_without_an_interval():
    assert words.findings(record(spread=None))[0] == "The mean IoU of the objects is 0.56 over 100 images."
    assert "on 1 image, which says nothing" in words.findings(record(images=1, spread=0))[0]
    nothing = words.findings(record({("background", "background"): 9}, spread=None))
    assert nothing[0].startswith("There is nothing to take the mean IoU of the objects of")


def test_headline_in_binary_mode():
    assert words.findings(binary_record())[0].startswith("The IoU of person is 0.50 (95 % interval 0.48 to 0.52)")
    assert words.findings(binary_record("any"))[0].startswith("The IoU of any object is 0.50")


# ---- objects


def with_objects(per_class=None, **sizes) -> str:
    objects = size_counts(**sizes) | {"per_class": per_class or {}}
    findings = words.findings(record(objects=objects))
    return findings[1] if "ound" in findings[1] or "issed" in findings[1] else ""


def test_objects_by_size():
    assert with_objects(small=(21, 97), medium=(146, 184), large=(145, 150)) == (
        "Found 312 of 431 objects; small ones are missed most: 21 of 97 found."
    )
    assert with_objects(small=(5, 5), medium=(0, 1), large=(6, 8)) == (  # of one nothing is known
        "Found 11 of 14 objects; large ones are missed most: 6 of 8 found."
    )
    assert with_objects(medium=(5, 10)) == "Found 5 of 10 objects."
    assert with_objects(small=(5, 10), medium=(5, 10)) == "Found 10 of 20 objects."
    assert with_objects(small=(4, 4), large=(3000, 3000)) == "Found all 3,004 objects."
    assert with_objects(large=(0, 3)) == "Found none of the 3 objects."
    assert with_objects(large=(1, 1)) == "Found the only object."
    assert with_objects() == ""


def test_objects_that_are_hard_to_find():
    def objects(found, total):
        return {"found": found, "total": total, "taken_for": {}, "by_size": {}}

    per_class = {"chair": objects(8, 34), "boat": objects(5, 32), "bus": objects(0, 4), "cat": objects(4, 8)}
    assert with_objects(per_class, medium=(5, 10)) == (
        "Found 5 of 10 objects. Fewer than half are found of boats (5 of 32) and chairs (8 of 34)."
    )


def test_objects_in_binary_mode_of_an_evaluation():
    people = binary_record(objects=size_counts(small=(7, 62), large=(38, 55)) | {"per_class": {}})
    assert words.findings(people)[1] == "Found 45 of 117 people; small ones are missed most: 7 of 62 found."
    anything = binary_record("any", objects=size_counts(large=(3, 3)) | {"per_class": {}})
    assert words.findings(anything)[1] == "Found all 3 objects."


# ---- classes and confusions


CHANCE = "may be chance; more images would tell."


def test_strongest_and_weakest_classes_are_those_at_the_ends_of_the_chart():
    findings = words.findings(record())
    assert told(findings, "Of the objects, the model") == (
        "Of the objects, the model is best at TVs (0.98), cats (0.66) and sofas (0.60), by overlapping area (IoU)."
    )
    assert told(findings, "Of the classes") == "Of the classes in the truth, it is weakest at dogs (0.54)."
    assert told(findings, "For dogs") == f"For dogs this {CHANCE}"  # the mean, 0.56, is within 0.52 to 0.56


def test_a_class_whose_interval_holds_the_mean_keeps_its_place():
    """The chart shows it there, too; how far to trust that is said after it."""
    findings = words.findings(record(spread=0.2))
    assert "best at TVs (0.98), cats (0.66) and sofas (0.60)" in told(findings, "Of the objects, the model")
    assert told(findings, "For ") == f"For cats, sofas and dogs this {CHANCE}"


def test_a_class_in_one_image_alone_may_be_there_by_chance():
    single = record()
    single["intervals"]["per_class"]["tvmonitor"]["iou"] = [0.98, 0.98]
    assert told(words.findings(single), "For TVs") == f"For TVs and dogs this {CHANCE}"
    single["intervals"]["per_class"]["tvmonitor"]["iou"] = None
    assert told(words.findings(single), "For TVs") == f"For TVs and dogs this {CHANCE}"


def test_a_class_that_is_missed_altogether_is_the_weakest():
    pixels = {("cat", "cat"): 80, ("cat", "background"): 20, ("dog", "dog"): 30, ("dog", "background"): 70}
    pixels |= {("bus", "background"): 50, ("background", "background"): 900}
    findings = words.findings(record(pixels))
    assert told(findings, "It is weakest") == "It is weakest at buses (0.00) and dogs (0.30)."


def test_strongest_and_weakest_classes_without_intervals():
    findings = words.findings(record(spread=None))
    assert told(findings, "Of the objects, the model").startswith("Of the objects, the model is best at TVs (0.98)")
    assert not [each for each in findings if CHANCE in each]


def test_confusions_between_objects():
    findings = words.findings(record())
    confusions = [each for each in findings if "pixels are called" in each and "true object" not in each]
    assert confusions == [
        "24 % of the true sofa pixels are called chair.",
        "20 % of the true cat pixels are called dog.",  # the TV's 1 % called cat is not worth a word
    ]


def test_the_worst_four_confusions():
    pixels = {("cat", "cat"): 40} | {("cat", name): 10 + number for number, name in enumerate(("dog", "cow", "car"))}
    pixels |= {("bus", "bus"): 50, ("bus", "car"): 20, ("bus", "train"): 30}
    shares = [each.split(" %")[0] for each in words.findings(record(pixels)) if "pixels are called" in each]
    assert shares == ["30", "20", "16", "15"]


def test_missed_and_extra_pixels():
    findings = words.findings(record())
    # 281 of 2100 true object pixels are missed; 20 % of the dog's and 16 % of the sofa's; 100 of 1919 are extra
    assert told(findings, "13 % of the true object") == (
        "13 % of the true object pixels are missed: they are called background, most of all those of dog (20 %). "
        "5 % of the pixels called an object are background."
    )
    assert told(words.findings(binary_record()), "33 % of") == (
        "33 % of the true person pixels are missed: they are called background. "
        "33 % of the pixels called a person are background."
    )


def test_classes_that_are_nowhere_true():
    assert "Seen, but in no image's truth: chair. Each counts with an IoU of 0 in the means." in words.findings(
        record()
    )
    assert not [each for each in words.findings(binary_record(pixels=(90, 10, 0, 0))) if each.startswith("Seen")]


# ---- confidence

UNCALIBRATED = "Its confidence has not been calibrated."


def test_over_confidence():
    found = words.confidence_sentence(record(reliability=reliability((900, 0.9, 0.78), (90, 0.5, 0.45), (5, 0.3, 0.0))))
    assert found == "The model is over-confident: where it says 90 %, it is right 78 % of the time. " + UNCALIBRATED


def test_under_confidence():
    found = words.confidence_sentence(record(reliability=reliability((500, 0.62, 0.8), (500, 0.997, 1.0))))
    assert (
        found
        == f"The model is less sure than it could be: where it says 62 %, it is right 80 % of the time. {UNCALIBRATED}"
    )


def test_next_to_everything_is_not_100_percent():
    found = words.confidence_sentence(record(reliability=reliability((500, 0.998, 0.9))))
    assert (
        found == f"The model is over-confident: where it says over 99 %, it is right 90 % of the time. {UNCALIBRATED}"
    )


def test_confidence_that_can_be_believed():
    found = words.confidence_sentence(record(reliability=reliability((900, 0.95, 0.94), (100, 0.55, 0.6))))
    assert (
        found == f"The model is about as sure as it is right: the two differ by 1.4 percentage points. {UNCALIBRATED}"
    )


@pytest.mark.parametrize(
    ("before", "effect"),
    [
        (0.052, "helps on these images: the mean difference is 1.4 points with it, 5.2 without."),
        (0.012, "does not help on these images: the mean difference is 1.4 points with it, 1.2 without."),
        (0.0141, "makes no difference on these images: 1.4 points either way."),
    ],
)
def test_calibrated_confidence(before, effect):
    """What a temperature changed is said, so that nobody takes a model's own confidence for it."""
    taken = reliability((900, 0.95, 0.94), (100, 0.55, 0.6)) | {"temperature": 1.3, "calibration_error_before": before}
    found = words.confidence_sentence(record(reliability=taken))
    assert found.endswith(f"1.4 percentage points. Its confidence is calibrated, which {effect}")


@pytest.mark.parametrize("untaken", [None, reliability()])
def test_confidence_that_was_not_taken(untaken):
    assert words.confidence_sentence(record(reliability=untaken)) == ""


# ---- what is left out, and what is not there


def test_images_left_out_are_told_of():
    skipped = [{"image_id": 1, "file_name": "a.jpg", "reason": "is not an image"}]
    assert words.findings(record(skipped=skipped))[-1] == "1 image could not be read and is in none of the numbers."
    assert words.findings(record(skipped=skipped * 3))[-1] == (
        "3 images could not be read and are in none of the numbers."
    )


def test_no_image_at_all():
    assert words.findings(record({}, images=0, spread=None)) == ["No image could be scored."]


def test_a_record_without_the_extras():
    bare = {key: value for key, value in record(spread=None, reliability=None).items() if key != "objects"}
    older = {key: value for key, value in bare.items() if key not in ("intervals", "reliability")}
    assert words.findings(bare) == words.findings(older)
    assert len(words.findings(bare)) == 7  # headline, best, weakest, two confusions, missed, imagined


def test_a_record_of_label_maps_says_why_objects_are_not_counted():
    told = words.findings(record(objects=None))
    assert [each for each in told if "objects were found" in each] == [terms.NO_OBJECTS]
    assert not any(each.startswith("Found") for each in told)


# ---- comparisons


def test_the_second_is_better():
    assert differences.comparison_sentence(comparison()) == (
        "The second model is better: mean IoU of the objects +0.081 (95 % interval +0.036 to +0.126)."
    )


def test_the_first_is_better_and_only_the_settings_differ():
    same_weights = comparison(difference(0.5, 0.4, 0.05))
    same_weights["second"] = same_weights["first"]
    assert differences.comparison_sentence(same_weights) == (
        "The first run is better: mean IoU of the objects −0.100 (95 % interval −0.150 to −0.050)."
    )


def test_no_clear_difference():
    assert differences.comparison_sentence(comparison(difference(0.5, 0.512, 0.03))) == (
        "No clear difference: mean IoU of the objects +0.012 (95 % interval −0.018 to +0.042, which holds zero)."
    )


def test_comparisons_that_cannot_be_decided():
    undefined = differences.comparison_sentence(comparison(difference(None, 0.5)))
    assert undefined == "No comparison: the mean IoU of the objects is undefined in at least one of the two."
    without = differences.comparison_sentence(comparison(difference(0.5, 0.6, None)))
    assert without == "The mean IoU of the objects differs by +0.100; with 4 images there is no interval for that."


def test_comparison_findings():
    classes = {"bus": difference(0.2, 0.3), "person": difference(0.5, 0.7), "cat": difference(0.5, 0.4)}
    classes |= {"dog": difference(0.5, 0.505), "background": difference(0.8, 0.9)}
    assert differences.comparison_findings(comparison(**classes))[1:] == [
        "The second is clearly better at people (+0.200) and buses (+0.100).",
        "The first is clearly better at cats (−0.100).",
        "The second is better on 2 images, worse on 1 and the same on 1.",
    ]


def test_comparison_in_binary_mode():
    both = comparison(difference(0.5, 0.6), person=difference(0.5, 0.6))
    both |= {side: both[side] | {"mode": "binary", "class": "person"} for side in ("first", "second")}
    assert differences.comparison_findings(both) == [
        "The second model is better: IoU of person +0.100 (95 % interval +0.090 to +0.110).",
        "The second is better on 2 images, worse on 1 and the same on 1.",
    ]
