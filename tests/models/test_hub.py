"""Models on the Hub, against a stand-in that runs here and also errs as the Hub does."""

import json
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import yaml
from gradio_client import Client, handle_file
from huggingface_hub import constants
from PIL import Image

from demo.answers.model_pool import ModelPool
from segcore import Model, Segmenter
from segcore.categories import VOC
from segcore.errors import DownloadError, UsageError, WeightsError
from segcore.models import catalogue, hub, loading, pretrained
from segcore.models.model_card import model_card
from tests.helpers.colours import NAMES, Colours, photograph
from tests.helpers.hub_server import running_hub
from tests.helpers.page_server import running_page

SHIPPED = "deeplabv3_mobilenet_v2"
FILE = "model.safetensors"
ON_CPU = {"device": "cpu", "precision": "float32"}


@pytest.fixture
def the_hub(tmp_path, monkeypatch):
    """A Hub on this machine, with a login, and an empty cache. What would go elsewhere fails."""
    with running_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + constants.HUGGINGFACE_CO_URL_TEMPLATE.split(".co", 1)[-1]
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
        yield server


@pytest.fixture(scope="module")
def weights():
    return loading.weights_path(SHIPPED).read_bytes()


@pytest.fixture
def commit(the_hub, weights):
    return the_hub.put("somebody/small", {FILE: weights, "README.md": b"# small"})


@pytest.mark.slow
def test_a_model_on_the_hub_is_pinned_and_recorded(the_hub, commit):
    segmenter = Segmenter("hf:somebody/small", **ON_CPU)
    result, expected = segmenter(photograph()), Segmenter(SHIPPED, **ON_CPU)(photograph())
    np.testing.assert_array_equal(result.labels, expected.labels)
    assert result.provenance.model == f"hf:somebody/small@{commit}"
    assert result.provenance.weights_sha256 == expected.provenance.weights_sha256
    assert {each.partition("/resolve/")[2].partition("/")[2] for each in the_hub.asked} == {
        FILE
    }  # nothing else of the repository is looked at


def test_a_revision_is_a_branch_or_a_commit(the_hub, commit, weights):
    trained = the_hub.put("somebody/small", {FILE: weights, "note": b""}, branch="v2")
    assert hub.pinned("hf:somebody/small@v2") == f"hf:somebody/small@{trained}"
    assert hub.pinned(f"hf:somebody/small@{commit}") == f"hf:somebody/small@{commit}"
    name = f"hf:somebody/small@{trained}"
    assert Segmenter.from_pretrained("somebody/small", revision="v2", **ON_CPU).model == name
    assert Segmenter.from_pretrained("hf:somebody/small@v2", **ON_CPU).model == name


def test_a_branch_that_moves_gives_its_new_commit_and_the_old_name_the_old(the_hub, commit, weights):
    assert hub.pinned("hf:somebody/small").endswith(commit)
    moved = the_hub.put("somebody/small", {FILE: weights, "more": b"1"})
    assert hub.pinned("hf:somebody/small").endswith(moved)
    assert loading.weights_sha256(f"hf:somebody/small@{commit}") == loading.weights_sha256(SHIPPED)


def test_a_commit_that_is_here_asks_nobody(the_hub, commit):
    name = hub.pinned("hf:somebody/small")
    the_hub.asked.clear()
    assert hub.pinned(name) == name and catalogue.on_disk(name)
    assert loading.categories(name) == VOC and catalogue.entry(name).title == "somebody/small"
    Segmenter(name, **ON_CPU)
    assert the_hub.asked == []


def test_looking_fetches_nothing(the_hub, commit):
    name = "hf:somebody/small"
    assert not catalogue.on_disk(name)
    with pytest.raises(WeightsError, match=f"not on disk.*fetch-weights {name}"):
        loading.categories(name)
    assert the_hub.asked == []


@pytest.mark.parametrize("by", ["environment", "argument"])
def test_offline_nothing_is_fetched(the_hub, commit, by, monkeypatch):
    if by == "environment":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = by == "argument"
    for name in ("hf:somebody/small", f"hf:somebody/small@{commit}"):
        with pytest.raises(WeightsError, match="is not on this machine, and nothing may be downloaded"):
            hub.pinned(name, offline=offline)
    assert the_hub.asked == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    name = hub.pinned("hf:somebody/small")
    the_hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", by == "environment")
    assert hub.pinned("hf:somebody/small", offline=offline) == name
    assert the_hub.asked == []


# A Hub that errs


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("hf:somebody/nothing", "knows no model somebody/nothing, or does not show it to you"),
        ("hf:somebody/small@v9", "somebody/small has no revision 'v9'"),
        ("hf:somebody/other", "somebody/other holds no model.safetensors; segcore reads only"),
        ("hf:somebody/private", "knows no model somebody/private, or does not show it to you.*hf auth login"),
        ("hf:somebody/forbidden", "hf:somebody/forbidden could not be downloaded: 403 Forbidden"),
        pytest.param("hf:somebody/ill", "hf:somebody/ill could not be downloaded: .*503", marks=pytest.mark.slow),
    ],
)
def test_refusals_of_the_hub_errors(the_hub, commit, name, problem):
    the_hub.put("somebody/other", {"pytorch_model.bin": b"cos\nsystem"})
    the_hub.status |= {"somebody/private": 401, "somebody/forbidden": 403, "somebody/ill": 503}
    with pytest.raises((DownloadError, WeightsError), match=problem):
        hub.pinned(name)
    assert not list(Path(constants.HF_HUB_CACHE).glob(f"*/snapshots/*/{FILE}"))


@pytest.mark.slow
def test_a_file_that_is_cut_is_not_kept(the_hub, commit, weights):
    the_hub.lies[f"/somebody/small/resolve/{commit}/{FILE}"] = weights[:1000]
    the_hub.lies[f"/somebody/small/resolve/main/{FILE}"] = weights[:1000]
    with pytest.raises(DownloadError, match="hf:somebody/small could not be downloaded"):
        Segmenter("hf:somebody/small")
    assert not catalogue.on_disk("hf:somebody/small")
    the_hub.lies.clear()
    assert hub.pinned("hf:somebody/small").endswith(commit)


def test_a_file_that_is_another_is_noticed_by_its_hash(the_hub, commit, weights):
    other = bytearray(weights)
    other[-1] ^= 1
    for revision in ("main", commit):
        the_hub.lies[f"/somebody/small/resolve/{revision}/{FILE}"] = bytes(other)
    with pytest.raises(WeightsError, match="are damaged: the SHA-256 .* fetch-weights hf:somebody/small@"):
        Segmenter("hf:somebody/small")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_of_another_kind_errors(the_hub, content):
    the_hub.put("somebody/kind", {FILE: content})
    with pytest.raises(
        (WeightsError, DownloadError), match="no safetensors file|not their categories|not be downloaded"
    ):
        Segmenter("hf:somebody/kind")


@pytest.mark.slow  # the library tries again, with pauses
def test_a_hub_that_is_not_there_errors(the_hub, commit, monkeypatch):
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    with pytest.raises(WeightsError, match="is not on this machine, and the Hub cannot be reached"):
        hub.pinned("hf:somebody/small")


@pytest.mark.parametrize(
    "name",
    ["hf:", "hf:small", "hf:a/b/c", "hf:a/b@", "hf:../x", "hf:a/b@../../x", "hf:a b/c", "hf:a/--..b"]
    + ["hf:a/b@main/../../../../x", f"hf:a/b.@{'0' * 40}", f"hf:a/b@{'x' * 300}"],
)
def test_names_errors(the_hub, name):
    with pytest.raises(UsageError, match="hf:"):
        Segmenter(name)
    assert the_hub.asked == []


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install huggingface_hub"):
        hub.pinned("hf:somebody/small")


# Saving and uploading


def record(**changes):
    scores = {"pixel_accuracy": 0.9, "mean_iou": 0.625}
    settings = {"model": SHIPPED, "protocol": "original", "resize": "squeeze", "precision": "float32", "split": "val"}
    return settings | {
        "mode": "multiclass",
        "weights_sha256": loading.weights_sha256(SHIPPED),
        "images": 7,
        "dataset": scores,
    } | changes  # fmt: skip


def front_matter(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


@pytest.mark.slow
def test_what_is_saved_is_the_model(tmp_path, weights):
    segmenter = Segmenter(SHIPPED, **ON_CPU)
    (tmp_path / "scores.json").write_text(json.dumps(record()))
    folder = segmenter.save_pretrained(tmp_path / "mine", scores=tmp_path / "scores.json")
    assert (folder / FILE).read_bytes() == weights
    again = Segmenter.from_pretrained(folder, **ON_CPU)
    np.testing.assert_array_equal(again(photograph()).labels, segmenter(photograph()).labels)
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    assert (card.data.license, card.data.pipeline_tag) == ("apache-2.0", "image-segmentation")
    assert {each.metric_type: each.metric_value for each in card.data.eval_results} == record()["dataset"]
    assert card.data.eval_results[0].dataset_name == "7 images of val"
    assert "| Mean IoU | 0.625 |" in card.text and loading.weights_sha256(SHIPPED) in card.text


def test_saving_again_and_in_place_keeps_the_model(tmp_path, weights):
    folder = Segmenter(SHIPPED, **ON_CPU).save_pretrained(tmp_path / "mine")
    Segmenter.from_pretrained(folder, **ON_CPU).save_pretrained(folder)
    assert (folder / FILE).read_bytes() == weights
    assert "model-index" not in front_matter((folder / "README.md").read_text())


def test_the_card_of_a_folder_says_where_the_name_of_its_user_goes(tmp_path):
    card = (Segmenter(SHIPPED, **ON_CPU).save_pretrained(tmp_path / "mine") / "README.md").read_text()
    assert "\n# mine\n" in card and 'Segmenter("hf:USER/mine")' in card


def test_somebody_elses_readme_is_not_overwritten(tmp_path):
    (tmp_path / "README.md").write_text("# My project")
    with pytest.raises(UsageError, match="README.md is no model card of segcore and would be lost"):
        Segmenter(SHIPPED, **ON_CPU).save_pretrained(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "# My project"


def test_what_is_uploaded_can_be_downloaded(the_hub, weights):
    name = Segmenter(SHIPPED, **ON_CPU).push_to_hub("somebody/fresh", scores=record())
    files = the_hub.files("somebody/fresh")
    assert files.keys() == {FILE, "README.md"} and files[FILE] == weights
    card = files["README.md"].decode()
    assert 'Segmenter("hf:somebody/fresh")' in card and front_matter(card)["model-index"][0]["name"] == "fresh"
    assert Segmenter("hf:somebody/fresh", **ON_CPU).model == name


def test_upload_errors(the_hub, monkeypatch):
    segmenter = Segmenter(SHIPPED, **ON_CPU)
    with pytest.raises(UsageError, match="expected hf:USER/NAME"):
        segmenter.push_to_hub("fresh")
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(UsageError, match="HF_HUB_OFFLINE is set"):
            segmenter.push_to_hub("somebody/fresh")
    assert the_hub.asked == []
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nowhere")
    with pytest.raises(DownloadError, match="somebody/fresh could not be uploaded: .*401.*hf auth login"):
        segmenter.push_to_hub("somebody/fresh")


@pytest.mark.parametrize(
    ("scores", "problem"),
    [
        ({}, "must be the record that"),
        ([1], "must be the record that"),
        ("nothing.json", "cannot be read"),
        ({"weights_sha256": "0" * 64}, "of other weights"),
        ({"mode": "binary"}, "of all classes: leave --mode binary out"),
        ({"dataset": {"mean_iou": None, "pixel_accuracy": 1}}, "of all classes"),
    ],
)
def test_scores_errors(tmp_path, scores, problem):
    given = record(**scores) if isinstance(scores, dict) and scores else scores
    with pytest.raises(UsageError, match=problem):
        pretrained.save(SHIPPED, tmp_path / "mine", scores=given)
    assert not (tmp_path / "mine").exists()


def test_own_networks_and_folders_errors(tmp_path):
    with pytest.raises(UsageError, match="only segcore's networks can be saved"):
        Segmenter(Model(Colours(), NAMES)).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="is a folder, which has no revisions"):
        Segmenter.from_pretrained(tmp_path, revision="main")
    with pytest.raises(WeightsError, match="model.safetensors"):
        Segmenter.from_pretrained(tmp_path)


def test_a_card_is_valid_whatever_it_is_given():
    header = loading.checkpoint_header(SHIPPED)
    scores = record(split='a: "b"\n---\n| <script>', images=3)
    card = model_card("somebody/odd", header, "0" * 64, scores=scores)
    assert front_matter(card)["model-index"][0]["results"][0]["dataset"]["split"] == scores["split"]
    assert "<script>" not in card.split("---\n")[2]


@pytest.mark.page
def test_the_page_answers_with_a_model_of_the_hub(commit, the_hub, tmp_path):
    """Offline as all pages of tests are, it only has what is here."""
    Image.fromarray(photograph()).save(tmp_path / "photo.png")
    flags = ("--model", "hf:somebody/small")
    cache = {"HF_ENDPOINT": the_hub.url, "HF_HUB_CACHE": constants.HF_HUB_CACHE}
    with pytest.raises(RuntimeError, match="segcore: hf:somebody/small is not on this machine, and nothing may be"):
        with running_page(*flags, env=cache):
            pass
    assert the_hub.asked == []
    name = ModelPool("hf:somebody/small").default
    assert name == f"hf:somebody/small@{commit}"
    the_hub.asked.clear()
    with running_page(*flags, env=cache) as page:
        client = Client(page.url, download_files=tmp_path, verbose=False)
        _, record = client.predict(handle_file(tmp_path / "photo.png"), api_name="/segment")
        assert record["model"] == name
        with pytest.raises(Exception, match="there is no model"):  # visitors name no repository
            client.predict(handle_file(tmp_path / "photo.png"), model="hf:somebody/other", api_name="/segment")
    assert the_hub.asked == []


def test_the_command_line_pins_once(run, the_hub, commit, tmp_path):
    Image.fromarray(photograph()).save(tmp_path / "photo.png")
    done = run("predict", tmp_path / "photo.png", "--out", tmp_path / "out", "--model", "hf:somebody/small")
    assert done.status == 0, done.err
    record = json.loads((tmp_path / "out" / "photo.json").read_text())
    assert record["model"] == f"hf:somebody/small@{commit}"
    assert sum(each.startswith("HEAD") for each in the_hub.asked) == 1
    done = run("fetch-weights", "hf:somebody/small")
    assert done.status == 0, done.err
    done = run("predict", tmp_path / "photo.png", "--out", tmp_path / "out", "--model", "hf:somebody/nothing")
    assert done.status == 1 and "the Hub knows no model somebody/nothing" in done.err
    done = run("predict", tmp_path / "photo.png", "--out", tmp_path / "out", "--model", "hf:nothing")
    assert done.status == 2 and "expected hf:USER/NAME" in done.err
