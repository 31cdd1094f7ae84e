"""How fast a model is: the least time of several, beside the bare network, with the machine named."""

import time
from dataclasses import replace

import numpy as np
import pytest

from fake.program import Command
from upd_harness.speed.measure import SCHEMA, as_document, measure
from upd_zoo.runtime.model import Array, Model, Watched


def slow(images: Array, _control: object) -> tuple[Array, Array]:
    """Take 2 ms for an image."""
    time.sleep(0.002 * len(images))
    return np.zeros((len(images), 1, *images.shape[2:]), np.float32), np.zeros(len(images), np.float32)


def test_the_fastest_time_of_both_counts(model: Model) -> None:
    batches: list[int] = []

    def now_and_then_held_up(images: Array, control: object) -> tuple[Array, Array]:
        batches.append(len(images))
        time.sleep(0.2 if len(batches) % 3 == 0 else 0)
        return slow(images, control)

    speed = measure(replace(model, network=Watched(now_and_then_held_up, ())), batch_size=4, repeats=6)
    assert {*batches} == {4}
    assert 100 < speed.network <= 500
    assert 100 < speed.model <= 500
    assert speed.ratio == speed.model / speed.network


def test_a_measurement_names_all_that_it_depends_on(model: Model) -> None:
    fast = replace(model, network=Watched(slow, ()))
    document = as_document(fast, measure(fast, 2, 1), threads=1)
    assert (document["schema"], document["batch_size"], document["threads"]) == (SCHEMA, 2, 1)
    assert document["machine"]["processor"]
    assert {"onnxruntime", "onnxruntime-gpu"} & document["versions"].keys()


@pytest.mark.parametrize("columns", ["60", "120"])
def test_a_model_is_measured_by_name(upd_zoo: Command, columns: str) -> None:
    options = ("bench", "vae-phantom-t2", "--batch-size", "2", "--repeats", "2", "-d", "cpu")
    text, data = upd_zoo(*options, COLUMNS=columns), upd_zoo(*options, "--json")
    assert (text.code, data.code) == (0, 0)
    assert "images/s" in text.out
    rates = data.json["images_per_second"]
    assert data.json["ratio"] == pytest.approx(rates["model"] / rates["network"])
