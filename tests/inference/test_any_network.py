"""Networks of the caller's own: any output, any stride, any categories, with the same engines."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn import functional

import segcore
from segcore import Model, Preprocess, Segmenter
from segcore.categories import VOC
from segcore.errors import SegcoreError, UsageError
from segcore.inference.any_network import AnyNetwork
from segcore.inference.task import Task
from tests.helpers.colours import AS_IT_IS, NAMES, TRUTH, Colours, Only16, photograph, three


def inside(labels: np.ndarray) -> np.ndarray:
    """Labels but those near borders, where resizing mixes colours."""
    return np.concatenate([labels[y : y + 28, x : x + 48].ravel() for y in (6, 46) for x in (6, 66)])


@pytest.mark.parametrize("gives", ["tensor", "out", "logits"])
@pytest.mark.parametrize("stride", [1, 2, 8])
def test_any_output_at_any_stride_gives_the_truth(gives, stride):
    network = Colours(stride=stride, gives=gives).train()
    segmenter = Segmenter(network, categories=NAMES, transforms=AS_IT_IS)
    result = segmenter(photograph())
    assert result.logits.shape == (4, 64 // stride, 64 // stride)
    np.testing.assert_array_equal(inside(result.labels), inside(TRUTH))
    assert result.categories.names == ("background", *NAMES)
    assert (result.provenance.model, result.provenance.precision) == ("Colours", "float32")
    assert network.training and network.weight.requires_grad


def test_a_network_without_a_background_gives_every_pixel_a_name():
    result = Segmenter(Colours(background=False), categories=NAMES, transforms=AS_IT_IS)(photograph())
    labels = result.labels
    assert labels.min() >= 1
    colours = TRUTH > 0
    colours[:6] = colours[-6:] = colours[34:46] = colours[:, :6] = colours[:, -6:] = colours[:, 54:66] = False
    np.testing.assert_array_equal(labels[colours], TRUTH[colours])
    assert result.probabilities()[0].max() < 1e-8


def test_logits_that_are_too_large_for_float16_give_the_same_labels():
    class Loud(Colours):
        def forward(self, x):
            return 1e4 * super().forward(x) + 1e6 * x[:, :1]

    segmenter = Segmenter(Loud(), categories=NAMES, transforms=AS_IT_IS)
    result, exact = segmenter(photograph()), segmenter(photograph(), dtype="float32")
    np.testing.assert_array_equal(inside(result.labels), inside(TRUTH))
    np.testing.assert_allclose(result.probabilities(), exact.probabilities(), atol=1e-3)


def test_one_channel_is_the_sigmoid_of_its_category():
    network = Colours(background=False, channels=1)
    result = Segmenter(network, categories=["red thing"], transforms=AS_IT_IS)(photograph(), dtype="float32")
    with torch.no_grad():
        expected = network(AS_IT_IS(photograph())).sigmoid()[0, 0].numpy()
    np.testing.assert_allclose(torch.from_numpy(result.logits).softmax(0)[1], expected, atol=1e-6)
    np.testing.assert_array_equal(inside(result.binary("red thing").view(np.uint8)), inside(TRUTH == 1))
    task = Task("binary", "red thing", 0.5, result.categories)
    assert task.predict(result.logits, (80, 120)).sum() == result.binary("red thing", threshold=0.5).sum()


def test_names_may_begin_with_the_background():
    for names in (("background", *NAMES), ["Background", *NAMES], NAMES):
        assert Model(Colours(), names).categories.names == ("background", *NAMES)
    assert Model(Colours(), VOC.names[1:]).categories is VOC is Model(Colours(), VOC).categories


def test_a_model_is_what_a_factory_gives():
    segmenter = Segmenter("tests.helpers.colours:three")
    assert segmenter.model == "tests.helpers.colours:three"
    assert segmenter.weights_sha256 == three().weights_sha256
    np.testing.assert_array_equal(inside(segmenter(photograph()).labels), inside(TRUTH))
    named = Segmenter(Model(Colours(), NAMES, AS_IT_IS, "colours"))
    assert named(photograph()).provenance.model == "colours"


def test_the_hash_tells_weights_apart():
    first, other = Model(Colours(), NAMES), Model(Colours(), NAMES)
    assert first.weights_sha256 == other.weights_sha256
    with torch.no_grad():
        changed = Colours()
        changed.weight[0, 0] += 1e-3
    assert Model(changed, NAMES).weights_sha256 != first.weights_sha256
    assert Model(Colours(channels=2, background=False), NAMES[:2]).weights_sha256 != first.weights_sha256

    before = Segmenter(first).weights_sha256
    with torch.no_grad():
        first.network.weight.mul_(2)  # as training does, after an evaluation
    assert Segmenter(first).weights_sha256 not in (before, other.weights_sha256)


@pytest.mark.parametrize("resize", ["squeeze", "aspect"])
@pytest.mark.parametrize("tta", [False, True])
def test_sides_become_multiples_where_the_network_needs_them(resize, tta):
    transforms = Preprocess(size=70, mean=AS_IT_IS.mean, std=AS_IT_IS.std, multiple_of=16)
    segmenter = Segmenter(Only16(), categories=NAMES, transforms=transforms, resize=resize, tta=tta)
    np.testing.assert_array_equal(inside(segmenter(photograph()).labels), inside(TRUTH))
    with pytest.raises(
        UsageError, match="failed on an image of 70 x 70 pixels: RuntimeError: Wrong input.*multiple_of"
    ):
        Segmenter(Only16(), categories=NAMES, transforms=Preprocess(size=70))


def test_sizes_are_multiples():
    assert Preprocess(size=520, multiple_of=32).size_hw(400, 300) == (512, 512)
    assert Preprocess(size=520, multiple_of=32, resize="aspect").size_hw(427, 640) == (512, 768)
    with pytest.raises(UsageError, match="multiple_of from 1 to the size 64, got 65"):
        Preprocess(size=64, multiple_of=65)


def test_a_batch_norm_is_folded_without_a_change():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1))
    torch.manual_seed(0)
    network[1].running_mean.normal_()
    network[1].running_var.uniform_(0.5, 2)
    segmenter = Segmenter(network, categories=NAMES, transforms=AS_IT_IS)
    assert not [each for each in segmenter._predictor._run.core.modules() if isinstance(each, nn.BatchNorm2d)]
    batch = torch.randn(2, 3, 40, 56)
    with torch.no_grad():
        torch.testing.assert_close(segmenter.predict_logits(batch), copy.deepcopy(network).eval()(batch))


@pytest.mark.slow
def test_torchvisions_network_keeps_its_stride():
    torch.manual_seed(0)
    build = torchvision.models.segmentation.lraspp_mobilenet_v3_large
    network = build(weights=None, weights_backbone=None, num_classes=4).eval()
    result = Segmenter(network, categories=NAMES, transforms=AS_IT_IS)(photograph(), dtype="float32")
    assert result.logits.shape == (4, 8, 8)
    with torch.no_grad():
        expected = network(AS_IT_IS(photograph()))["out"][0]
    upsampled = functional.interpolate(torch.from_numpy(result.logits)[None], (64, 64), mode="bilinear")[0]
    torch.testing.assert_close(upsampled, expected)


# Networks of other libraries


def check_engines(network: nn.Module, categories: tuple[str, ...], size: int = 64) -> None:
    """PyTorch through us is the network itself; OpenVINO is nearly that."""
    transforms = Preprocess(size=size, multiple_of=32)
    photo = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    options = {"categories": categories, "transforms": transforms, "device": "cpu", "resize": "aspect"}
    segmenter = Segmenter(network, **options)
    result = segmenter(photo, dtype="float32")
    with torch.no_grad():
        output = network.eval()(transforms.__class__(size=size, multiple_of=32, resize="aspect")(photo))
    torch.testing.assert_close(torch.from_numpy(result.logits), getattr(output, "logits", output)[0], atol=1e-4, rtol=0)
    pytest.importorskip("openvino", reason="needs openvino: segcore[openvino]")
    other = Segmenter(network, engine="openvino", **options)(photo, dtype="float32")
    np.testing.assert_allclose(other.logits, result.logits, atol=1e-3)
    assert other.provenance.engine == "openvino"


@pytest.mark.slow
def test_segmentation_models_pytorch():
    smp = pytest.importorskip("segmentation_models_pytorch", reason="needs segmentation-models-pytorch")
    torch.manual_seed(0)
    check_engines(smp.Unet("resnet18", encoder_weights=None, classes=4), NAMES)


@pytest.mark.slow
def test_the_lines_in_the_documentation_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("segmentation_models_pytorch", reason="needs segmentation-models-pytorch")
    text = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n([^`]*smp[^`]*)```", text)
    Image.fromarray(photograph()).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    assert 0 < float(capsys.readouterr().out) <= 1


@pytest.mark.slow
def test_segformer_of_transformers():
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    torch.manual_seed(0)
    small = {"depths": [1] * 4, "hidden_sizes": [8, 16, 24, 32], "decoder_hidden_size": 16, "num_labels": 4}
    config = transformers.SegformerConfig(**small, num_attention_heads=[1, 2, 3, 4])
    check_engines(transformers.SegformerForSemanticSegmentation(config).eval(), NAMES)


@pytest.mark.slow
def test_openvino_refuses_what_it_computes_wrongly():
    pytest.importorskip("openvino", reason="needs openvino: segcore[openvino]")

    class Wide(Colours):
        def forward(self, x):
            return super().forward(x) * (1 if x.shape[-1] <= x.shape[-2] else -1)  # a trace keeps one of the two

    options = {"categories": NAMES, "transforms": AS_IT_IS, "device": "cpu"}
    assert (
        inside(Segmenter(Colours(), engine="openvino", **options)(photograph()).labels).tolist()
        == inside(TRUTH).tolist()
    )
    with pytest.raises(UsageError, match="not compute this network as PyTorch does, at 128 x 64 .* engine 'torch'"):
        Segmenter(Wide(), engine="openvino", **options)


@pytest.mark.slow
def test_int8_follows_the_code_of_a_network_and_refuses_what_openvino_computes_wrongly(tmp_path, monkeypatch):
    for package in ("openvino", "nncf"):
        pytest.importorskip(package, reason="needs openvino and nncf: segcore[int8]")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    class Changing(Colours):
        sign, sign_if_wide = 1, 1

        def forward(self, x):
            return super().forward(x) * (self.sign_if_wide if x.shape[-1] > x.shape[-2] else self.sign)

    def labels(precision: str) -> np.ndarray:
        options = {"transforms": AS_IT_IS, "device": "cpu", "precision": precision}
        return inside(Segmenter(Changing(), categories=NAMES, **options)(photograph()).labels)

    assert labels("int8").tolist() == inside(TRUTH).tolist()
    Changing.sign = Changing.sign_if_wide = -1  # as if somebody had edited the file
    assert labels("int8").tolist() == labels("float32").tolist() != inside(TRUTH).tolist()
    Changing.sign = 0.5
    with pytest.raises(UsageError, match="not compute this network as PyTorch does, at 128 x 64 .* engine 'torch'"):
        labels("int8")


# Errors


class Gives(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x):
        return self.output


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (torch.zeros(1, 4, 8), r"float logits .*got torch.float32 \(1, 4, 8\)"),
        (torch.zeros(1, 4, 8, 8, dtype=torch.uint8), r"got torch.uint8 \(1, 4, 8, 8\)"),
        ((torch.zeros(1, 4, 8, 8), 1), "got tuple"),
        ({"masks": torch.zeros(1, 4, 8, 8)}, "got dict"),
        (None, "got NoneType"),
        (
            torch.zeros(1, 7, 8, 8),
            "gives 7 channels, but there are 3 categories .*red thing, green.* needs 4 channels, or 3",
        ),
    ],
)
def test_outputs_that_are_no_logits_errors(output, problem):
    with pytest.raises(UsageError, match=problem):
        Segmenter(Gives(output), categories=NAMES, transforms=AS_IT_IS)


def test_own_network_errors():
    network = Colours()
    with pytest.raises(UsageError, match=r"needs categories=\[...\]"):
        Segmenter(network)
    with pytest.raises(UsageError, match="categories and transforms are for a network of your own"):
        Segmenter("auto", categories=NAMES)
    with pytest.raises(UsageError, match="expected the name of a model.*got int"):
        Segmenter(3)
    with pytest.raises(UsageError, match="torch.nn.Module as network, got function"):
        Model(photograph, NAMES)
    with pytest.raises(UsageError, match="transforms=segcore.Preprocess.*got function"):
        Model(network, NAMES, photograph)
    with pytest.raises(UsageError, match="names of the categories.*got 'red'"):
        Model(network, "red")
    with pytest.raises(UsageError, match="two categories are called 'red'"):
        Model(network, ["red", "red"])
    with pytest.raises(UsageError, match="a text as name, got 3"):
        Model(network, NAMES, name=3)
    assert isinstance(segcore.inference.predictor.core_of(Model(network, NAMES, AS_IT_IS)), AnyNetwork)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_network_that_gives_no_numbers_is_told(wrong):
    """Otherwise every pixel would be background, with a confidence that is no number."""

    class Broken(Colours):
        def forward(self, x):
            return super().forward(x) * (wrong if x.std() > 0 else 1)

    segmenter = Segmenter(Broken(), categories=NAMES, transforms=AS_IT_IS)
    with pytest.raises(SegcoreError, match="the network gave numbers that are nan or infinite; its weights may be"):
        segmenter(photograph())


def test_a_class_may_be_excluded():
    class WithoutTheFirst(Colours):
        def forward(self, x):
            logits = super().forward(x)
            logits[:, 1] = -torch.inf
            return logits

    result = Segmenter(WithoutTheFirst(), categories=NAMES, transforms=AS_IT_IS)(photograph())
    assert not (result.labels == 1).any() and result.probability(NAMES[0]).max() == 0
