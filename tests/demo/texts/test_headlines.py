"""The headline in other languages, for findings worked out by hand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from demo.texts import LANGUAGES
from demo.texts.headlines import headline
from segcore.classes import ANY_OBJECT_NAME, FRIENDLY_NAMES, NUM_CLASSES, class_id
from segcore.report.verdict import Verdict, verdict

EMPTY = 1000  # pixels of background


class Thing(NamedTuple):
    """An object of the truth, as `verdict` takes it."""

    class_id: int
    found: bool
    area: int = 100
    taken_for: int = 0


def thing(name: str, found: bool, area: int = 100, taken_for: str = "background") -> Thing:
    return Thing(class_id(name), found, area, class_id(taken_for))


def judged(pixels: dict[tuple[str, str], int], things: list[Thing] | None, fit: float = 0.7) -> Verdict:
    """The verdict on pixels by (truth, prediction), with a boundary IoU of `fit` for each class."""
    matrix = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
    for (truth, prediction), count in pixels.items():
        matrix[class_id(truth), class_id(prediction)] = count
    matrix[0, 0] = EMPTY if pixels else 0
    return verdict(matrix, np.full(NUM_CLASSES, fit), FRIENDLY_NAMES, things)


FINDINGS = {
    "one": judged({("dog", "dog"): 100}, [thing("dog", True)]),
    "several": judged(
        {("dog", "dog"): 100, ("cat", "cat"): 50}, [thing("dog", True), thing("dog", True), thing("cat", True)]
    ),
    "missed": judged(
        {("dog", "dog"): 100, ("bottle", "background"): 50}, [thing("dog", True), *[thing("bottle", False)] * 3]
    ),
    "some": judged(
        {("person", "person"): 90, ("person", "background"): 9},
        [*[thing("person", True)] * 5, *[thing("person", False, area=9)] * 2],
        fit=0.2,
    ),
    "taken for": judged({("cat", "dog"): 100}, [thing("cat", False, taken_for="dog")]),
    "none": judged({("background", "background"): EMPTY}, []),
    "imagined": judged({("background", "horse"): 100}, []),
    "extra": judged(
        {("sheep", "sheep"): 100, ("background", "cat"): 60}, [thing("sheep", True), thing("sheep", True)], fit=0.4
    ),
    "speck": judged({("chair", "background"): 50, ("background", "bicycle"): 1}, [thing("chair", False)]),
    "label map": judged({("dog", "dog"): 100, ("chair", "background"): 50}, None),
    "part": judged({("boat", "boat"): 20, ("boat", "background"): 80}, [thing("boat", False)]),
}
SENTENCES = {
    "de": {
        "one": "Gefunden: 1 Hund. Die Ränder passen genau.",
        "several": "Gefunden: 2 Hunde, 1 Katze. Die Ränder passen genau.",
        "missed": "Nicht gefunden: 3 Flaschen. Gefunden: 1 Hund. Die Ränder passen genau.",
        "some": "Gefunden: 5 von 7 Personen (die 2 kleinsten fehlen). Die Ränder sind ungenau.",
        "taken for": "Nicht gefunden: 1 Katze (gehalten für: Hund).",
        "none": "Auf diesem Bild gibt es nichts zu finden (gesucht: 20 Klassen), und das Modell hat zu Recht nichts "
        "gefunden.",
        "imagined": "Auf diesem Bild gibt es nichts zu finden (gesucht: 20 Klassen), aber das Modell sieht: Pferd.",
        "extra": "Gefunden: 2 Schafe. Außerdem gesehen, aber nicht vorhanden: Katze. Die Ränder passen einigermaßen.",
        "speck": "Nicht gefunden: 1 Stuhl. Gesehen, aber nicht vorhanden: Fahrrad.",
        "label map": "Nicht gefunden: Stuhl. Gefunden: Hund. Die Ränder passen genau.",
        "part": "Nur teilweise gefunden: 1 Boot. Die Ränder passen genau.",
    },
    "fr": {
        "one": "Trouvé : 1 chien. Les contours sont précis.",
        "several": "Trouvé : 2 chiens, 1 chat. Les contours sont précis.",
        "missed": "Non trouvé : 3 bouteilles. Trouvé : 1 chien. Les contours sont précis.",
        "some": "Trouvé : 5 personnes sur 7 (il manque les 2 plus petits). Les contours sont imprécis.",
        "taken for": "Non trouvé : 1 chat (pris pour : chien).",
        "none": "Il n’y a rien à trouver dans cette image (recherché : 20 classes), et le modèle n’a rien trouvé, à "
        "juste titre.",
        "imagined": "Il n’y a rien à trouver dans cette image (recherché : 20 classes), mais le modèle voit : cheval.",
        "extra": "Trouvé : 2 moutons. Vu aussi, mais absent : chat. Les contours sont corrects.",
        "speck": "Non trouvé : 1 chaise. Vu, mais absent : vélo.",
        "label map": "Non trouvé : chaise. Trouvé : chien. Les contours sont précis.",
        "part": "Trouvé en partie seulement : 1 bateau. Les contours sont précis.",
    },
    "es": {
        "one": "Encontrado: 1 perro. Los bordes son precisos.",
        "several": "Encontrado: 2 perros, 1 gato. Los bordes son precisos.",
        "missed": "No encontrado: 3 botellas. Encontrado: 1 perro. Los bordes son precisos.",
        "some": "Encontrado: 5 de 7 personas (faltan 2, lo más pequeño). Los bordes son imprecisos.",
        "taken for": "No encontrado: 1 gato (tomado por: perro).",
        "none": "No hay nada que encontrar en esta imagen (buscado: 20 clases) y el modelo acertó al no encontrar "
        "nada.",
        "imagined": "No hay nada que encontrar en esta imagen (buscado: 20 clases), pero el modelo ve: caballo.",
        "extra": "Encontrado: 2 ovejas. También visto, pero no está: gato. Los bordes son aceptables.",
        "speck": "No encontrado: 1 silla. Visto, pero no está: bicicleta.",
        "label map": "No encontrado: silla. Encontrado: perro. Los bordes son precisos.",
        "part": "Encontrado solo en parte: 1 barco. Los bordes son precisos.",
    },
    "zh-CN": {
        "one": "已找到：狗（1）。边缘很准。",
        "several": "已找到：狗（2）、猫（1）。边缘很准。",
        "missed": "未找到：瓶子（3）。已找到：狗（1）。边缘很准。",
        "some": "已找到：人（5/7）（漏掉最小的 2 个）。边缘不准。",
        "taken for": "未找到：猫（1）（被当成狗）。",
        "none": "图中没有可找的内容（目标：20 个类别），模型也正确地没有找到任何东西。",
        "imagined": "图中没有可找的内容（目标：20 个类别），但模型看到了：马。",
        "extra": "已找到：羊（2）。多看到了实际没有的：猫。边缘尚可。",
        "speck": "未找到：椅子（1）。看到了实际没有的：自行车。",
        "label map": "未找到：椅子。已找到：狗。边缘很准。",
        "part": "只找到一部分：船（1）。边缘很准。",
    },
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", FINDINGS)
def test_headline(name, language):
    assert headline(FINDINGS[name], language) == SENTENCES[language][name]


@pytest.mark.parametrize("name", FINDINGS)
def test_english_is_the_librarys_sentence(name):
    assert headline(FINDINGS[name], "en") == FINDINGS[name].sentence


def test_five_classes_are_listed_as_four_and_one_more():
    names = ["dog", "cat", "bird", "boat", "bus"]
    found = judged({(each, each): 100 - at for at, each in enumerate(names)}, [thing(each, True) for each in names])
    assert headline(found, "de").startswith("Gefunden: 1 Hund, 1 Katze, 1 Vogel, 1 Boot, 1 weitere Klasse.")


def test_binary_mode_names_what_was_sought():
    empty, boundary = np.array([[EMPTY, 0], [0, 0]]), np.full(2, np.nan)
    assert "(gesucht: beliebiges Objekt)" in headline(
        verdict(empty, boundary, ["background", ANY_OBJECT_NAME], []), "de"
    )
    two = verdict(np.array([[EMPTY, 0], [0, 50]]), boundary, ["background", ANY_OBJECT_NAME], [thing("dog", True)] * 2)
    assert headline(two, "de") == "Gefunden: 2 Objekte."


def test_classes_of_ones_own_model_keep_their_names():
    found = verdict(
        np.array([[EMPTY, 0, 0], [0, 9, 0], [0, 0, 0]]), np.full(3, np.nan), ["background", "crack", "rust"]
    )
    assert headline(found, "de") == "Gefunden: crack."
