"""How far a command is: bars on a terminal, lines now and then in a log."""

import io
import re
import sys

import pytest

from segcore.cli import main, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.slow
def test_progress_bars_are_for_terminals(run, cat, examples_coco, monkeypatch, tmp_path):
    evaluate = ("evaluate", "--dataset", examples_coco, "--limit", "1", "--protocol", "report")
    assert run(*evaluate).err == ""
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main.main(["predict", str(cat), "--out", str(tmp_path)]) == 0
    assert "predict: 100%" in sys.stderr.getvalue() and "1/1" in sys.stderr.getvalue()
    assert main.main([str(each) for each in evaluate]) == 0
    assert "evaluate: 100%" in sys.stderr.getvalue()


@pytest.mark.slow
def test_a_log_is_told_now_and_then_how_far_it_is(run, photographs, examples_coco, monkeypatch, tmp_path):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    done = run("predict", photographs, "--out", tmp_path)
    assert re.fullmatch(r"segcore: predict: 1 of 2 images, about \d+ min left\n", done.err)
    done = run("evaluate", "--dataset", examples_coco, "--limit", "2", "--protocol", "report")
    assert re.match(r"segcore: evaluate: 0 of 2 images\nsegcore: evaluate: 1 of 2 images, about", done.err)
