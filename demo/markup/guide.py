"""The text of the tab "Guide": terms, scores, limits of the model, and what happens to a photograph."""

from demo.settings import Limits
from segcore.classes import FRIENDLY_NAMES

_NUMBERS = ", ".join(f"{number} {name}" for number, name in enumerate(FRIENDLY_NAMES))
_ABOUT = f"""
## What you see
A segmentation model gives every pixel of a photograph one of 21 labels: **{", ".join(FRIENDLY_NAMES[1:])}**, or
background, which is everything else. It does not know anything outside this list: it takes a giraffe for background
or, wrongly, for a horse.

**Multiclass** shows all classes at once. **Binary** asks for one of them, or for any object, against everything else.
With the *automatic* threshold a pixel counts where that class is the likeliest of all 21; with a threshold of your own
it counts where the model gives the class at least that probability.

With **sharp edges** each class's probability is first averaged over neighbouring pixels of similar colour, so that
borders follow the photograph's edges. This moves borders and finds no additional classes. Scores are computed without
it unless you tick the box under *More options* there, and every result and download says whether it was on.

**Confidence** is the probability that the model gives its own answer; tables have its mean. It is not the chance of
being right: these models are often sure and wrong. The Brier score and *A whole set* measure that. The view
*Confidence* shows it as a heat map, and a slider leaves out what the model is not sure enough of. Point at the picture,
or tap it, to read the three likeliest classes there.

## What the scores mean, and where they mislead
| score | what it says | where it misleads |
| --- | --- | --- |
| Pixel accuracy | share of pixels with the right label | an image of mostly background always scores high |
| IoU of a class | pixels in prediction and truth, divided by pixels in either | for small objects it varies a lot |
| Mean IoU of the objects | their mean over the classes in truth or prediction | one imagined class counts as a zero |
| Mean IoU | the same with background | background flatters it |
| F1, or Dice | twice the shared pixels divided by the sum of both | it is never below IoU; do not compare the two |
| MSE | the mean squared difference of the masks | in binary mode it is exactly 1 - pixel accuracy |
| Brier score | MSE with the model's probabilities | lower is better; says nothing about where the errors are |
| Boundary IoU | IoU of the pixels along the outlines (Cheng et al. 2021) | people draw outlines differently too |

A class that is neither in the truth nor in the prediction has no score, is shown as N/A and is left out of the means.

**Objects found** counts objects instead of pixels: an object is found if at least half of its pixels got its class.
Small, medium and large are COCO's sizes: under 32 × 32 pixels, under 96 × 96, and larger. A label map, as in PASCAL
VOC, does not separate one object from the next, so no objects are counted there.

## A whole set, and how sure it is
*Whole set* adds up the pixels of all images and divides once, so large objects count most. *Image mean* averages the
scores of the images. The **95 % interval** says how much a score could change with other images of the same kind; with
few images, a lot. To compare two models, choose the second under *Compare with*: both get the same images, and the
interval is that of their difference. The **calibration error** is the difference between the model's confidence and
how often it is right.

## Protocols
Scores depend on how they are taken, so every table and file says it.
**Original size**: scored on the photograph as it is; crowds and places where two classes overlap are left out.
**torchvision's**: the shorter side at 520 pixels, overlaps left out, crowds counted: how published scores were taken.
**The report's**: photograph and truth both squeezed to 520 × 520.

## Your own truth
If you know what is in your photograph, open *Have the correct answer? Score this photo*. It is then scored like the
COCO images, at its full size, as in *original size*.

A **mask** is a PNG of the photograph's own size, grey or with any palette, whose values are the classes' numbers, or
painted in VOC's colours. {_NUMBERS}; 255 is left out of the scores. **Black and white** says where an object is but not
what it is, so it needs *Binary*: white is then the class that you choose. Of **COCO annotations** the image that has
the photograph's name is taken, or the only one. The label map under *Download* has the right form: correct it in a
drawing program, without smoothing, and give it back.

## What the model cannot do
It does not count: two people side by side are one region. Edges are decided on a coarse grid of 8 or 16 pixels and
drawn out smoothly, so thin things (bicycle spokes, chair legs) blur. Small objects are missed first. Drawings, medical,
satellite and night images are not what it was trained on.

## What happens to your photograph
It goes to the machine that runs this page, is segmented there, and is sent to nobody else. The uploaded file, like a
truth of your own, several photographs at once and what you download, is deleted {{keep}} after it came, sooner where
room is short, and with everything else when the page is stopped. What you look at stays in that machine's memory until
{{keep}} after your last click, whether the page is open or not. Your browser keeps the photographs that you gave last
until you close the page, and gives them again if it has to. Files that you download carry none of its date, place or
other metadata.

A photograph may have {{megabytes:g}} MB and {{megapixels:g}} megapixels.
"""


def about(limits: Limits) -> str:
    """Return the tab's text as Markdown."""
    return _ABOUT.format(keep=kept_for(limits), megabytes=limits.max_bytes / 2**20, megapixels=limits.max_pixels / 1e6)


def kept_for(limits: Limits) -> str:
    """Return how long a visitor's files are kept: "60 minutes"."""
    minutes = limits.keep_seconds / 60
    return "1 minute" if minutes == 1 else f"{minutes:g} minutes"
