"""Several graphics cards: one worker a card, and the scores of one. Ray is told of cards that are not there."""

import pytest
import torch

from segcore.errors import UsageError
from segcore.evaluation import evaluate
from segcore.evaluation.protocols import protocol
from segcore.evaluation.ray_cluster import Cluster, import_ray
from segcore.inference.segmenter import Segmenter
from segcore.inference.task import Task
from segcore.truth.layouts import open_dataset

pytestmark = pytest.mark.slow

SHIPPED = "deeplabv3_mobilenet_v2"


@pytest.fixture(scope="module")
def two_cards():
    """Workers that Ray gives a card each; that they compute on the processor is all that tells them from real ones."""
    if torch.cuda.is_available():
        pytest.skip("needs a machine without graphics cards, whose workers take the processor")
    pytest.importorskip("ray")
    ray = import_ray(local=True)
    ray.init("local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_one_worker_a_card_gives_the_scores_of_one(two_cards, nine_coco):
    dataset = open_dataset(nine_coco)
    torch.set_num_threads(1)
    here = Segmenter(SHIPPED, device="cpu", precision="float32")
    run = evaluate.Run(here, dataset, protocol("report"), Task(), dataset.images)
    expected = evaluate.evaluate(run).to_dict()
    with Cluster(SHIPPED, device="auto", precision="float32") as cluster:
        assert sorted(each["card"] for each in cluster.workers) == ["0", "1"]
        shared = evaluate.Run(cluster, dataset, protocol("report"), Task(), dataset.images)
        outcome = evaluate.evaluate(shared).to_dict()
        with pytest.raises(UsageError, match="3 workers were asked for, and Ray has 2 GPUs; ask for 1 to 2"):
            Cluster(SHIPPED, device="auto", workers=3)
    del expected["seconds"], outcome["seconds"]
    assert outcome == expected


def test_fewer_workers_than_cards_have_a_card_each(two_cards):
    with Cluster(SHIPPED, device="auto", precision="float32", workers=1) as cluster:
        assert len(cluster.workers) == 1 and cluster.workers[0]["card"] in ("0", "1")


def test_workers_on_the_processor_have_no_card(two_cards):
    with Cluster(SHIPPED, device="cpu", precision="float32", workers=1) as cluster:
        assert cluster.workers[0]["card"] in (None, "")
