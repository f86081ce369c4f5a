"""Settings of a training that cannot be are refused with a sentence."""

from __future__ import annotations

import math

import pytest

from segcore.errors import UsageError
from segcore.training.settings import TrainSettings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "panoptic"}, "mode must be 'multiclass' or 'binary'"),
        ({"loss": "focal"}, "loss must be"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"hold_back": 1.0}, "from 0 to under 1"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"class_name": "box"}, "choose the mode 'binary'"),
        ({"precision": "int8"}, "precision must be 'auto' or 'float32' or 'bfloat16', got 'int8'"),
        ({"precision": "float61"}, "precision must be"),
        ({"learning_rate": math.nan}, "learning_rate must be a finite number, got nan"),
        ({"backbone_rate": math.inf}, "backbone_rate must be a finite number, got inf"),
        ({"weight_decay": math.nan}, "weight_decay must be a finite number"),
        ({"dice": math.nan}, "dice must be a finite number"),
        ({"seed": -1}, "the seed must be from 0 to"),
        ({"seed": 2**63}, "the seed must be from 0 to"),
    ],
)
def test_settings_errors(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        TrainSettings(coco=tmp_path, out=tmp_path, **changes)
