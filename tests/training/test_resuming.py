"""Training that is stopped: it goes on to the same result, and never over another run."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from segcore.cli.main import main
from segcore.errors import Cancelled, UsageError
from segcore.training.state import MovingAverage, TrainingState
from segcore.training.train import train
from tests.helpers.shapes import quick

pytestmark = pytest.mark.slow


def test_resuming_equals_not_being_stopped(shapes, tmp_path):
    whole = train(quick(shapes, tmp_path / "whole", steps=6))

    class Stopped(Exception):
        pass

    def stop(done):
        if done.step == 5:  # the checkpoint is of step 4
            raise Stopped

    settings = quick(shapes, tmp_path / "halves", steps=6)
    with pytest.raises(Stopped):
        train(settings, on_step=stop)
    assert not (tmp_path / "halves" / "model.safetensors").exists()
    halves = train(settings, resume=True)
    assert halves.read_bytes() == whole.read_bytes()
    assert (tmp_path / "halves" / "curves.csv").read_text() == (tmp_path / "whole" / "curves.csv").read_text()


def test_a_killed_command_resumes_to_the_same_file(shapes, tmp_path):
    def command(out, *more):
        return ["train", "--dataset", str(shapes), "--split", "train",
                "--out", str(tmp_path / out), "--steps", "8",
                "--batch-size", "2", "--crop", "64", "--hold-back", "0", "--save-every", "1",
                *more]  # fmt: skip

    assert main(command("whole")) == 0
    program = [sys.executable, "-m", "segcore", *command("killed")]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "killed" / "checkpoint.pt"
    for _ in range(1200):
        if checkpoint.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "it was over before it could be killed"
    assert main(command("killed", "--resume")) == 0
    whole, killed = (tmp_path / out / "model.safetensors" for out in ("whole", "killed"))
    assert whole.read_bytes() == killed.read_bytes()


def test_cancel_keeps_what_was_done(shapes, tmp_path):
    class AfterTwo:
        asked = 0

        def is_set(self):
            self.asked += 1
            return self.asked > 2

    settings = quick(shapes, tmp_path / "run", save_every=100)
    with pytest.raises(Cancelled, match="after 2 steps"):
        train(settings, cancel=AfterTwo())
    steps = []
    train(settings, resume=True, on_step=lambda done: steps.append(done.step))
    assert steps == [3, 4]


def test_an_earlier_run_is_not_written_over(shapes, tmp_path):
    settings = quick(shapes, tmp_path / "run", steps=1)
    train(settings)
    with pytest.raises(UsageError, match="holds an earlier run"):
        train(settings)
    with pytest.raises(UsageError, match=r"other settings \(batch_size, seed\)"):
        train(replace(settings, seed=3, batch_size=3), resume=True)


def test_a_folder_that_another_training_writes_to(shapes, tmp_path):
    first, second = quick(shapes, tmp_path / "run", steps=1), quick(shapes, tmp_path / "run", seed=1)
    refused = []

    def start_another(done):
        (tmp_path / "run" / "checkpoint.pt").unlink()  # as before the first was written
        (tmp_path / "run" / "model.safetensors").unlink()
        with pytest.raises(UsageError) as caught:
            train(second)
        refused.append(str(caught.value))

    train(first, on_step=start_another)
    assert "another training is writing to" in refused[0]


def test_a_checkpoint_of_settings_that_are_not_known_is_refused(tmp_path):
    network = torch.nn.Linear(2, 1)
    state = TrainingState(network, torch.optim.AdamW(network.parameters()), MovingAverage(network, 0.5))
    state.save(tmp_path, {"seed": 1, "\x1f" * 100: False})
    with pytest.raises(UsageError, match="was written with other settings") as raised:
        state.restore(tmp_path, {"seed": 1})
    assert str(raised.value).isprintable() and len(str(raised.value)) < len(str(tmp_path)) + 200


@pytest.mark.parametrize(
    "damage",
    [
        *("cut short", "other settings", "lacks a part", "other weights", "of another kind", "a step below 0"),
        "a best above 1",
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    def state(width=2):
        network = torch.nn.Linear(width, 1)
        return TrainingState(network, torch.optim.AdamW(network.parameters()), MovingAverage(network, 0.5))

    path = tmp_path / "checkpoint.pt"
    state(3 if damage == "other weights" else 2).save(tmp_path, {"seed": 1})
    saved = torch.load(path)
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:-50])
    elif damage == "other settings":
        torch.save(saved | {"settings": {"seed": torch.zeros(2)}}, path)
    elif damage == "lacks a part":
        torch.save({name: part for name, part in saved.items() if name != "step"}, path)
    elif damage == "of another kind":
        torch.save("a text", path)
    elif damage == "a step below 0":
        torch.save(saved | {"step": -1}, path)
    elif damage == "a best above 1":
        torch.save(saved | {"best": 1.5}, path)
    with pytest.raises(UsageError, match=r"checkpoint.pt cannot be read, it is damaged; name another folder"):
        state().restore(tmp_path, {"seed": 1})
