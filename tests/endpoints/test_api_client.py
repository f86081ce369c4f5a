"""The example client, `examples/api_client.py`."""

import re
import runpy
import subprocess
import sys

import numpy as np
import pytest
from gradio_client import handle_file

from tests.endpoints.calls import ASTRONAUT, CAT, ROOT, pixels, sample
from tests.helpers.page_server import free_port

pytestmark = pytest.mark.page

API_CLIENT = ROOT / "examples" / "api_client.py"


@pytest.fixture
def run_client(monkeypatch, capsys, tmp_path):
    """Run the script as `python examples/api_client.py` would, in an empty folder: status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [str(API_CLIENT), *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(API_CLIENT), run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return run


def test_api_client_by_itself(page, tmp_path):
    done = subprocess.run([sys.executable, API_CLIENT, page.url], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"cat +\d+\.\d% of the picture", done.stdout)
    assert pixels(tmp_path / "overlay.png").shape == (300, 451, 3)


def test_api_client_segments_a_photograph(page, client, run_client):
    status, printed, complaints = run_client(page.url, str(sample(ASTRONAUT)), "--mode", "binary", "--class", "person")
    assert (status, complaints) == (0, "")
    overlay, result = client.predict(handle_file(sample(ASTRONAUT)), "binary", "person", api_name="/segment")
    assert f"{sample(ASTRONAUT).name}, 512 x 512, by {result['model']}" in printed
    assert re.search(rf"person +{result['classes'][0]['share']:.1%} of the picture", printed)
    np.testing.assert_array_equal(pixels("overlay.png"), pixels(overlay))


def test_api_client_scores_an_image(page, client, run_client):
    arguments = ("--coco-image", str(CAT), "--protocol", "torchvision", "--out", "cat.png")
    status, printed, complaints = run_client(page.url, *arguments)
    assert (status, complaints) == (0, "")
    overlay, *_, result = client.predict(CAT, protocol="torchvision", api_name="/evaluate_coco")
    assert f"{sample(CAT).name} by {result['model']}, protocol torchvision, float32" in printed
    assert re.search(rf"pixel_accuracy +{result['pixel_accuracy']:.4g}\n", printed)
    np.testing.assert_array_equal(pixels("cat.png"), pixels(overlay))


def test_api_client_errors(page, run_client, tmp_path):
    nowhere = f"http://127.0.0.1:{free_port()}"
    for arguments, status, sentence in (
        ((page.url, "--model", "unet"), 1, "there is no model 'unet'"),
        ((page.url, "absent.jpg"), 1, "absent.jpg"),
        ((nowhere,), 1, nowhere),
        (("somebody/some-space",), 2, "begins with http"),
    ):
        ended, _, complaints = run_client(*arguments)
        assert ended == status
        assert sentence in complaints
    assert not (tmp_path / "overlay.png").exists()
