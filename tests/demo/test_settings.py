"""How the page is set up from outside."""

from pathlib import Path

import pytest

from demo.settings import EXAMPLES, Settings
from segcore.inference.predictor import ENGINES


def test_by_hand_it_listens_on_loopback_and_shows_the_samples():
    settings = Settings.read([], {})
    assert (settings.host, settings.port, settings.dataset, settings.offline) == ("127.0.0.1", None, EXAMPLES, False)


def test_a_space_sets_it_by_its_environment():
    space = {
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": "7860",
        "CPU_CORES": "2",
        "SEGCORE_DATASET": "/data",
    }
    settings = Settings.read([], space)
    assert (settings.host, settings.port, settings.threads, settings.dataset) == ("0.0.0.0", 7860, 2, Path("/data"))


def test_how_many_are_served_can_be_set():
    settings = Settings.read([], {"SEGCORE_QUEUE": "8", "SEGCORE_AT_ONCE": "3", "SEGCORE_MODELS": "1"})
    assert (settings.queue, settings.at_once, settings.models) == (8, 3, 1)
    assert Settings.read([], {"CPU_CORES": "2"}).at_once == 2
    assert Settings.read([], {"CPU_CORES": "64"}).at_once == 8


def test_how_the_network_runs_can_be_set():
    settings = Settings.read(["--engine", "torch"], {"SEGCORE_PRECISION": "int8", "SEGCORE_ENGINE": "openvino"})
    assert (settings.precision, settings.engine) == ("int8", "torch")
    assert (Settings.read([], {}).precision, Settings.read([], {}).engine) == ("auto", "auto")
    assert [Settings.read(["--engine", engine], {}).engine for engine in ENGINES] == list(ENGINES)


def test_flags_win_over_the_environment():
    flags = ["--host", "127.0.0.2", "--port", "8000", "--dataset", "here", "--model", "deeplabv3_resnet50"]
    settings = Settings.read(flags, {"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": "1"})
    assert settings.host == "127.0.0.2"
    assert (settings.port, settings.dataset, settings.model) == (8000, Path("here"), "deeplabv3_resnet50")


@pytest.mark.parametrize(
    ("flags", "environment", "told"),
    [
        ([], {"SEGCORE_DATASET": "/data"}, ""),
        ([], {"SEGCORE_COCO": "/data"}, "SEGCORE_COCO is now called SEGCORE_DATASET"),
        ([], {"SEGCORE_COCO": "/old", "SEGCORE_DATASET": "/data"}, ""),
        (["--coco", "/data"], {}, "--coco is now called --dataset"),
    ],
)
def test_the_old_names_of_the_dataset_work_with_a_notice(flags, environment, told, capsys):
    assert Settings.read(flags, environment).dataset == Path("/data")
    lines = capsys.readouterr().err.splitlines()
    assert [told in line for line in lines] == ([True] if told else [])


@pytest.mark.parametrize("flags", [["--model", "deeplabv3_efficientnet_lite0"], []])
def test_a_former_models_name_is_accepted_with_a_notice(flags, capsys):
    settings = Settings.read(flags, {"SEGCORE_MODEL": "deeplabv3_efficientnet_lite0"})
    assert settings.model == "deeplabv3_mobilenet_v2"
    (line,) = capsys.readouterr().err.splitlines()
    assert "replaced by 'deeplabv3_mobilenet_v2'" in line


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_offline(value, offline):
    assert Settings.read([], {"SEGCORE_OFFLINE": value}).offline is offline


def test_errors(capsys):
    with pytest.raises(SystemExit):
        Settings.read(["--port", "many"], {})
    assert "--port" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        Settings.read([], {"SEGCORE_PRECISION": "float8"})
    assert "'float8' is none of: auto, float32, bfloat16, int8" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        Settings.read([], {"SEGCORE_QUEUE": "0"})
    assert "SEGCORE_QUEUE must be a whole number from 1, got '0'" in capsys.readouterr().err


def test_origins_that_may_show_the_page_in_a_frame_are_listed(capsys):
    assert Settings.read([], {"SEGCORE_FRAMES": "https://a.example, http://b.example:8080"}).frames == (
        "https://a.example",
        "http://b.example:8080",
    )
    with pytest.raises(SystemExit):
        Settings.read([], {"SEGCORE_FRAMES": "https://a.example; script-src *"})
    assert "SEGCORE_FRAMES lists origins" in capsys.readouterr().err
