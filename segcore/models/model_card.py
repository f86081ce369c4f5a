"""The model card of a checkpoint: what the Hub shows of it, with the scores of an evaluation as metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .. import __version__
from ..errors import UsageError, shown
from .checkpoint import Header

# Keys of an evaluation's record, by the Hub's names of metrics.
_METRICS = {"mean_iou": "Mean IoU", "pixel_accuracy": "Pixel accuracy"}
_LIBRARY = 'library_name: "segcore"'
_NEEDED = ("model", "weights_sha256", "protocol", "resize", "precision", "split", "images", "dataset")


def model_card(
    repo: str, header: Header, sha256: str, *, licence: str = "", scores: Mapping[str, Any] | None = None
) -> str:
    """Return the card as Markdown with YAML metadata.

    repo: USER/NAME, where the model will be. sha256: of its file. licence: of the weights, "" if unknown.
    scores: the record of an evaluation of these weights, as `segcore evaluate --json` writes it. They are in the text
    and, for the Hub, in the metadata (`model-index`).
    `check_scores` checks it.
    """
    metadata: dict[str, Any] = {
        "pipeline_tag": "image-segmentation",
        "tags": ["semantic-segmentation", header.network],
    }
    title = repo.rpartition("/")[2]
    if licence:
        metadata["license"] = licence
    if scores is not None:
        metadata["model-index"] = [{"name": title, "results": [_result(scores)]}]
    lines = [
        "---",
        _LIBRARY,
        # JSON is YAML, and quotes whatever a name may hold.
        *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in metadata.items()),
        "---",
        "",
        f"# {title}",
        "",
        f"A semantic segmentation model that segcore {__version__} has written: the network `{header.network}`, "
        f"{len(header.categories)} classes.",
        "",
        "```python",
        "from segcore import Segmenter",
        "",
        f'result = Segmenter("hf:{repo}")("photo.jpg")',
        "```",
        "",
        "| | |",
        "| --- | --- |",
        f"| classes | {_cell(', '.join(header.categories.names))} |",
        f"| input | RGB 0..1, minus {header.mean}, over {header.std}; {header.size} x {header.size} |",
        f"| output stride | {header.output_stride} |",
        f"| temperature | {'not fitted' if header.temperature is None else header.temperature} |",
        f"| SHA-256 of `model.safetensors` | `{sha256}` |",
        "",
        *(_scores_table(scores) if scores is not None else ["It comes without scores: nobody gave any.", ""]),
    ]
    return "\n".join(lines)


def is_model_card(text: str) -> bool:
    """Whether a README.md is a card that `model_card` wrote."""
    return text.startswith("---\n" + _LIBRARY + "\n")


def check_scores(scores: Any, *sha256: str) -> None:
    """Raise UsageError if `scores` is no record of an evaluation of all classes by weights with one of the hashes."""
    values = scores.get("dataset") if isinstance(scores, Mapping) else None
    if not isinstance(values, Mapping) or any(key not in scores for key in _NEEDED):
        raise UsageError("the scores must be the record that `segcore evaluate --json FILE` writes")
    if scores["weights_sha256"] not in sha256:
        raise UsageError(f"the scores are of other weights ({shown(scores['model'])}); evaluate this model for them")
    if scores.get("mode") != "multiclass" or not all(isinstance(values.get(key), int | float) for key in _METRICS):
        raise UsageError("the scores must be of an evaluation of all classes: leave --mode binary out")


def _result(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return one entry of `model-index`, as the Hub's documentation on model cards gives its form."""
    name = f"{scores['images']} images of {scores['split']}"
    return {
        "task": {"type": "image-segmentation", "name": "Semantic segmentation"},
        "dataset": {"type": "custom", "name": name, "split": scores["split"]},
        "metrics": [{"type": key, "name": name, "value": scores["dataset"][key]} for key, name in _METRICS.items()],
    }


def _scores_table(scores: Mapping[str, Any]) -> list[str]:
    how = ", ".join(f"{key} {scores[key]}" for key in ("protocol", "resize", "precision"))
    return [
        "## Scores",
        "",
        _cell(f"{scores['images']} images of {scores['split']}, {how}."),
        "",
        "| score | value |",
        "| --- | ---: |",
        *(f"| {name} | {scores['dataset'][key]:.3f} |" for key, name in _METRICS.items()),
        "",
    ]


def _cell(text: str) -> str:
    """Return a text that cannot leave its cell or paragraph."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
