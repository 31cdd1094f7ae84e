"""Weights learnt beforehand: how encoders take them over, what is refused, and what folded ones need first."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor

from upd_zoo.errors import IntegrityError, NotFoundError, UsageError
from upd_zoo.layers.backbone import FeatureBackbone, WholeNetwork
from upd_zoo.layers.encoder import Encoder, initialise, tensors_sha256
from upd_zoo.layers.folding import unfold

LIGHT = "test_resnet"
"""timm's smallest network with strides 4, 8 and 16."""


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def backbone() -> FeatureBackbone:
    """A light backbone with random weights."""
    torch.manual_seed(0)
    return FeatureBackbone(LIGHT, 128)


def test_random_weights_are_those_of_the_seed() -> None:
    torch.manual_seed(0)
    first = FeatureBackbone(LIGHT, 128)
    origin = initialise([first.encoder], "random")
    torch.manual_seed(0)
    assert initialise([FeatureBackbone(LIGHT, 128).encoder], "random") == origin
    torch.manual_seed(1)
    assert initialise([FeatureBackbone(LIGHT, 128).encoder], "random").sha256 != origin.sha256
    assert (origin.backbone, origin.source, origin.name) == (LIGHT, "random", "")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A whole classifier, as timm's weights are distributed."""
    torch.manual_seed(7)
    classifier = timm.create_model(LIGHT, pretrained=False)
    safetensors.torch.save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_weights_come_from_a_file(weights: Path, backbone: FeatureBackbone) -> None:
    first, second = FeatureBackbone(LIGHT, 128), FeatureBackbone(LIGHT, 128)
    origin = initialise([first.encoder], str(weights))
    assert initialise([second.encoder], str(weights)) == origin
    assert (origin.source, origin.name) == ("file", "weights.safetensors")
    tensors = safetensors.torch.load_file(weights)
    loaded = first.network.state_dict()
    assert loaded
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in loaded.items())
    assert not torch.equal(first(random_images(1, 1, 128, 128))[2], backbone(random_images(1, 1, 128, 128))[2])


@pytest.mark.parametrize("name", ["convnext_atto", "test_efficientnet"])
def test_any_classifier_of_timm_fits_its_backbone(name: str, tmp_path: Path) -> None:
    classifier = timm.create_model(name, pretrained=False)
    safetensors.torch.save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    assert initialise([FeatureBackbone(name, 128).encoder], str(tmp_path / "weights.safetensors")).source == "file"


def test_the_weights_beside_the_project_fit(backbone_weights: Path) -> None:
    origin = initialise([FeatureBackbone("mobilenetv2_100", 128).encoder], str(backbone_weights))
    assert (origin.backbone, origin.source, origin.name) == ("mobilenetv2_100", "file", backbone_weights.name)


def test_a_file_that_is_not_there_is_not_found(backbone: FeatureBackbone, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        initialise([backbone.encoder], str(tmp_path / "no.safetensors"))
    with pytest.raises(NotFoundError):
        initialise([backbone.encoder], str(tmp_path))


def test_a_file_that_lacks_a_tensor_is_refused_and_nothing_loaded(weights: Path, backbone: FeatureBackbone) -> None:
    before = tensors_sha256(backbone.state_dict())
    tensors = safetensors.torch.load_file(weights)
    name = next(name for name in tensors if name.startswith("layer1") and name.endswith("weight"))
    del tensors[name]
    safetensors.torch.save_file(tensors, weights)
    with pytest.raises(IntegrityError, match=name):
        initialise([backbone.encoder], str(weights))
    assert tensors_sha256(backbone.state_dict()) == before


def test_a_file_with_a_tensor_that_belongs_to_nothing_is_refused(weights: Path, backbone: FeatureBackbone) -> None:
    before = tensors_sha256(backbone.state_dict())
    safetensors.torch.save_file({**safetensors.torch.load_file(weights), "layer9.weight": torch.zeros(1)}, weights)
    with pytest.raises(IntegrityError, match=r"1 tensors for which test_resnet has no use, the first layer9\.weight"):
        initialise([backbone.encoder], str(weights))
    assert tensors_sha256(backbone.state_dict()) == before


def test_a_whole_network_leaves_only_the_classifier_in_the_file(weights: Path) -> None:
    tensors = safetensors.torch.load_file(weights)
    whole = WholeNetwork(LIGHT)
    initialise([whole.encoder], str(weights))
    loaded = whole.encoder.tensors()
    assert {name.split(".")[0] for name in {*tensors} - {*loaded}} == {"fc"}
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in loaded.items())


def test_a_network_of_its_own_has_no_weights_at_timm() -> None:
    layer = torch.nn.Linear(2, 2)
    with pytest.raises(UsageError, match="no weights of the encoder of mine"):
        initialise([Encoder("mine", {"layer": layer}, layer.forward)], "timm")


def test_all_encoders_of_a_method_start_alike(tmp_path: Path) -> None:
    layers = [torch.nn.Linear(2, 2) for _ in range(3)]
    first, *others = (Encoder("mine", {"a": layer}, layer.forward) for layer in layers)
    safetensors.torch.save_file(first.tensors(), tmp_path / "weights.safetensors")
    origin = initialise(others, str(tmp_path / "weights.safetensors"))
    assert {*first.tensors()} == {"a.weight", "a.bias"}
    assert all(torch.equal(layer.weight, layers[0].weight) for layer in layers)
    assert origin.sha256 == tensors_sha256(first.tensors())


def folded(network: torch.nn.Module) -> None:
    """Multiply every batch normalisation into the convolution before it."""
    convolution: Any = None
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            scale = module.weight / (module.running_var + module.eps).sqrt()
            convolution.weight.data *= scale.view(-1, 1, 1, 1)
            module.bias.data -= module.running_mean * scale
            module.weight.data.fill_(1.0)
            module.running_mean.zero_()
            module.running_var.fill_(1 - module.eps)
        elif isinstance(module, torch.nn.Conv2d):
            convolution = module


@pytest.fixture
def learnt() -> WholeNetwork:
    """A network with statistics and biases, as if it had been trained."""
    torch.manual_seed(1)
    network = WholeNetwork(LIGHT)
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.normal_(norm.bias)
            norm.momentum = None  # the plain mean over all batches
    for seed in range(3):
        network.train()(random_images(16, 3, 128, 128, seed=seed))
    return network.eval()


def test_a_folded_network_is_in_training_another_one_until_it_has_its_statistics_back(learnt: WholeNetwork) -> None:
    images = random_images(16, 3, 128, 128)
    with torch.no_grad():
        expected = learnt(images)
        folded(learnt)
        torch.testing.assert_close(learnt(images), expected, rtol=1e-3, atol=1e-4)
        other = learnt.train()(images)
        learnt.eval()
    spread = float(expected.std())
    assert float((other - expected).abs().mean()) > 0.2 * spread


def test_statistics_come_back_and_evaluation_stays_as_it_was(learnt: WholeNetwork) -> None:
    images = random_images(16, 3, 128, 128)
    with torch.no_grad():
        folded(learnt)
        expected = learnt(images)
        learnt.train()
        assert unfold(learnt, learnt, images)
        assert all(module.training for module in learnt.modules())
        torch.testing.assert_close(learnt.eval()(images), expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(learnt.train()(images), expected, rtol=1e-2, atol=1e-2 * float(expected.std()))
        assert not unfold(learnt, learnt, images), "nothing is folded any more"


def test_a_network_that_has_its_statistics_or_was_just_drawn_is_left_alone(learnt: WholeNetwork) -> None:
    for network in (learnt, WholeNetwork(LIGHT)):
        before = tensors_sha256(network.state_dict())
        assert not unfold(network, network, random_images(4, 3, 128, 128))
        assert tensors_sha256(network.state_dict()) == before


def test_a_file_of_another_network_is_refused(weights: Path) -> None:
    with pytest.raises(IntegrityError, match="lacks"):
        initialise([FeatureBackbone("test_efficientnet", 128).encoder], str(weights))


def test_tensors_of_another_shape_are_refused(weights: Path) -> None:
    tensors = safetensors.torch.load_file(weights)
    tensors["conv1.0.weight"] = torch.zeros(1, 2, 3, 4)
    safetensors.torch.save_file(tensors, weights)
    with pytest.raises(IntegrityError, match=r"conv1\.0\.weight"):
        initialise([FeatureBackbone(LIGHT, 128).encoder], str(weights))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_truncated_file_is_refused(weights: Path, backbone: FeatureBackbone, share: float) -> None:
    content = weights.read_bytes()
    weights.write_bytes(content[: int(share * len(content))])
    with pytest.raises(IntegrityError, match="not a whole safetensors file"):
        initialise([backbone.encoder], str(weights))


def test_garbage_is_refused(weights: Path, backbone: FeatureBackbone) -> None:
    weights.write_bytes(b"\x80\x04garbage" * 1000)
    with pytest.raises(IntegrityError, match="is a pickle"):
        initialise([backbone.encoder], str(weights))


def test_the_hash_of_tensors_sees_every_change_but_their_order() -> None:
    tensors = {"a": torch.arange(6.0), "b": torch.tensor(3)}
    same = {"b": torch.tensor(3), "a": torch.arange(6.0)}
    others = [
        {"a": torch.arange(6.0)},
        tensors | {"b": torch.tensor(4)},
        tensors | {"a": torch.arange(6.0).view(2, 3)},
        tensors | {"a": torch.arange(6.0).half()},
        {"c": torch.arange(6.0), "b": torch.tensor(3)},
    ]
    assert tensors_sha256(same) == tensors_sha256(tensors)
    assert len({tensors_sha256(other) for other in (tensors, *others)}) == 1 + len(others)
    assert tensors_sha256({"a": torch.eye(3)[:, :2].T}) == tensors_sha256({"a": torch.eye(3)[:, :2].T.contiguous()})
