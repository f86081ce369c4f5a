"""`--model module:function`: a network of one's own, on the command line and on the page."""

import json
import sys

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from tests.cli.outputs import SHIPPED, names, read_json
from tests.helpers.colours import NAMES, TRUTH, photograph, write_coco
from tests.helpers.page_server import running_page

HERE = "tests.helpers.colours:"
MODEL = f"{HERE}three"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A COCO folder of one photograph whose truth is its colours."""
    return write_coco(tmp_path_factory.mktemp("colours"), NAMES)


def test_predict_writes_the_networks_own_classes(run, folder, tmp_path):
    done = run("predict", folder / "all" / "1.png", "--out", tmp_path, "--model", MODEL)
    assert done.status == 0, done.err
    labels = np.asarray(Image.open(tmp_path / "1_labels.png"))
    assert np.mean(labels == TRUTH) > 0.95 and set(np.unique(labels)) == {0, 1, 2, 3}
    record = read_json(tmp_path / "1.json")
    assert record["model"] == MODEL and [each["name"] for each in record["classes"]] == list(NAMES)


@pytest.mark.parametrize("chosen", [None, "any", "blue thing"])
def test_evaluate_scores_the_networks_own_classes(run, folder, tmp_path, chosen):
    options = ("--mode", "binary", "--class", chosen) if chosen else ()
    file = tmp_path / "scores.json"
    done = run("evaluate", "--dataset", folder, "--model", MODEL, "--json", file, *options)
    assert done.status == 0, done.err
    record = read_json(file)
    assert (record["model"], record["precision"]) == (MODEL, "float32")
    if not chosen:
        assert list(record["per_class"]) == ["background", *NAMES]
        assert record["per_class"]["blue thing"]["iou"] == pytest.approx(0.5, abs=0.05)
        assert record["per_class"]["red thing"]["iou"] > 0.9
    elif chosen == "any":
        assert record["per_class"]["any"]["recall"] > 0.95
    else:
        assert record["per_class"]["blue thing"]["iou"] == pytest.approx(0.5, abs=0.05)


def test_compare_takes_it_beside_label_maps(run, folder, tmp_path):
    maps = tmp_path / "maps"
    done = run("evaluate", "--dataset", folder, "--model", MODEL, "--save-labels", maps)
    assert done.status == 0, done.err
    done = run("compare", "--dataset", folder, "--models", f"{MODEL},{maps}", "--json", tmp_path / "both.json")
    assert done.status == 0, done.err
    done = run("compare", "--dataset", folder, "--models", f"{MODEL},{SHIPPED}")
    assert done.status == 2 and "tell different things apart" in done.err


def test_a_file_in_the_current_folder_is_found(run, folder, tmp_path, monkeypatch):
    source = "import segcore, torch\ndef make():\n    from tests.helpers.colours import three\n    return three()\n"
    (tmp_path / "networks_of_mine.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    done = run("predict", folder / "all" / "1.png", "--out", "out", "--model", "networks_of_mine:make")
    assert done.status == 0, done.err
    (tmp_path / "broken_networks.py").write_text("1 / 0")
    done = run("predict", folder / "all" / "1.png", "--out", "out", "--model", "broken_networks:make")
    assert done.status == 2 and "the module broken_networks failed: ZeroDivisionError: division by zero" in done.err


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("no_such_module:make", "there is no module 'no_such_module'; install it, or run this in the folder"),
        ("tests.nothing.here:make", "there is no module 'tests.nothing'"),
        (f"{HERE}nothing", "there is no function 'nothing' in the module 'tests.helpers.colours'"),
        (f"{HERE}not_callable", "there is no function 'not_callable'"),
        (f"{HERE}raises", f"the function {HERE}raises failed: ValueError: no weights here"),
        (f"{HERE}gives_a_network", "returns segcore.Model(network, categories=[...]), got Colours"),
        (f"{HERE}Colours.forward", "there is no model"),
        (f"{HERE}any_thing", "no category can be called 'any', which stands for any object; rename it"),
        (f"{HERE}too_few_names", "gives 4 channels, but there are 1 categories"),
    ],
)
def test_factory_errors(run, folder, tmp_path, model, problem):
    done = run("predict", folder / "all" / "1.png", "--out", tmp_path / "out", "--model", model)
    assert done.status == 2 and problem in done.err
    assert names(tmp_path) in ([], ["out"])


def test_training_and_fetching_take_no_factory(run, folder, tmp_path):
    done = run("train", "--dataset", folder, "--out", tmp_path / "run", "--model", MODEL)
    assert done.status == 2 and "training starts from a model of segcore's" in done.err
    done = run("fetch-weights", MODEL)
    assert done.status == 2 and "is a network of your own" in done.err


@pytest.mark.slow
def test_export_takes_it(run, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs segcore[onnx]")
    file = tmp_path / "colours.onnx"
    done = run("export", "--model", MODEL, "--to", file)
    assert done.status == 0, done.err
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    image = photograph().astype(np.float32).transpose(2, 0, 1)[None] / 255
    (logits,) = session.run(None, {"image": image})
    assert np.mean(logits[0].argmax(0) == TRUTH) > 0.9
    about = json.loads(session.get_modelmeta().custom_metadata_map["segcore"])
    assert about["categories"] == ["background", *NAMES] and about["model"] == MODEL


@pytest.mark.slow
def test_an_exported_file_names_the_size_to_which_photographs_are_resized(run, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs segcore[onnx]")
    done = run("export", "--model", f"{HERE}rounded", "--to", tmp_path / "colours.onnx")
    assert done.status == 0, done.err
    session = onnxruntime.InferenceSession(tmp_path / "colours.onnx", providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["segcore"])["preprocess"]["size"] == 64


@pytest.mark.page
def test_the_page_answers_with_it(folder, tmp_path):
    with running_page("--model", MODEL, "--dataset", str(folder), env={"PYTHONPATH": "."}) as page:
        client = Client(page.url, download_files=tmp_path, verbose=False)
        photo = handle_file(folder / "all" / "1.png")
        _, record = client.predict(photo, api_name="/segment")
        assert record["model"] == MODEL and [each["name"] for each in record["classes"]] == list(NAMES)
        *_, scores = client.predict(1, api_name="/evaluate_coco")
        assert scores["per_class"]["red thing"]["iou"] > 0.9
        for other in (f"{HERE}too_few_names", "os:getcwd"):  # visitors import nothing
            with pytest.raises(Exception, match="there is no model"):
                client.predict(photo, model=other, api_name="/segment")
    with pytest.raises(RuntimeError, match=r"segcore: there is no module 'no_such_module'"):
        with running_page("--model", "no_such_module:make"):
            pass


def test_export_says_in_one_sentence_that_onnx_cannot_express_a_network(run, tmp_path, monkeypatch):
    (tmp_path / "choosy.py").write_text(
        "from tests.helpers.colours import AS_IT_IS, NAMES, Colours\nfrom segcore import Model\n\n"
        "class Choosy(Colours):\n"
        "    def forward(self, x):\n"
        "        return super().forward(-x if x.std() > 0.3 else x)\n\n"
        "def network():\n    return Model(Choosy(), NAMES, AS_IT_IS)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    done = run("export", "--model", "choosy:network", "--to", tmp_path / "out" / "choosy.onnx")
    assert done.status == 1 and names(tmp_path / "out") == []
    assert "segcore: this network cannot be written as ONNX: " in done.err and "Traceback" not in done.err
