"""The gauntlet: what every method promises, whatever it is called."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from contract.kinds import GREY, METHODS, PAIRS
from fake.stores import draw_image, draw_mask, plant
from upd_zoo.detector import Detector
from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.fitting.learner import trainable
from upd_zoo.fitting.run import seed_everything
from upd_zoo.method import Method, Prediction, register
from upd_zoo.registry import create, registered
from upd_zoo.roster import own_methods
from upd_zoo.vocabulary import Foreground, ScoreRule

every_method = pytest.mark.parametrize("name", METHODS)
every_pair = pytest.mark.parametrize(("name", "domain"), PAIRS)


def images_for(fitted: Any, count: int, seed: int = 100) -> Tensor:
    """Return new healthy images, in [0, 1]."""
    generator = np.random.default_rng(seed)
    channels = fitted.config.input.channels
    return torch.from_numpy(np.stack([draw_image(channels, generator) for _ in range(count)]))


def pixels_for(fitted: Any, images: Tensor) -> Tensor:
    """Return images in the method's own pixel convention."""
    return images * 2 - 1 if fitted.config.centred else images


def map_of(fitted: Any, images: Tensor) -> Tensor:
    with torch.no_grad():
        anomaly_map: Tensor = fitted.method.anomaly_map(pixels_for(fitted, images))
    return anomaly_map


def look(detector: Detector, images: Tensor) -> Prediction:
    with torch.no_grad():
        return Detector.forward(detector, images)


def detector_of(fitted: Any, **changes: Any) -> Detector:
    return Detector.from_config(fitted.config.model_copy(update=changes), fitted.method)


@every_pair
def test_a_map_is_a_finite_value_for_every_pixel(name: str, domain: str, fitted: Callable[..., Any]) -> None:
    model = fitted(name, domain)
    anomaly_map = map_of(model, images_for(model, 3))
    assert anomaly_map.shape == (3, 1, 128, 128)
    assert anomaly_map.dtype == torch.float32
    assert anomaly_map.isfinite().all()
    assert anomaly_map.std() > 0, "the map says nothing"


@every_pair
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_blank_image_has_a_finite_map(name: str, domain: str, value: float, fitted: Callable[..., Any]) -> None:
    model = fitted(name, domain)
    prediction = look(detector_of(model), torch.full((1, model.config.input.channels, 128, 128), value))
    assert prediction.anomaly_map.isfinite().all()
    assert prediction.score.isfinite().all()


@every_pair
def test_a_map_is_drawn_twice_alike(name: str, domain: str, fitted: Callable[..., Any]) -> None:
    model = fitted(name, domain)
    images = images_for(model, 2)
    maps = []
    for seed in (1, 2):
        seed_everything(seed)
        maps.append(map_of(model, images))
    assert torch.equal(*maps)


@every_pair
def test_a_map_does_not_depend_on_its_neighbours(name: str, domain: str, fitted: Callable[..., Any]) -> None:
    model = fitted(name, domain)
    detector, images = detector_of(model), images_for(model, 5)
    together = look(detector, images)
    alone = [look(detector, image[None]) for image in images]
    for whole, parts in zip(together, zip(*alone, strict=True), strict=True):
        tolerance = 1e-5 * max(1.0, float(whole.abs().max()))
        torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=tolerance)


@every_pair
def test_neither_image_nor_method_is_changed_by_looking(name: str, domain: str, fitted: Callable[..., Any]) -> None:
    model = fitted(name, domain)
    images = images_for(model, 2)
    pixels, state = images.clone(), {key: tensor.clone() for key, tensor in model.method.state_dict().items()}
    look(detector_of(model), pixels)
    assert torch.equal(pixels, images)
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.method.state_dict().items())


def untrained(fitted: Any) -> Method:
    """Return a new method like a fitted one, to train."""
    if not fitted.config.training.phases:
        pytest.skip(f"{fitted.config.method} learns without gradients")
    return create(fitted.config.method, fitted.config.input.channels, 128, fitted.config.settings).train()


@every_method
def test_training_leaves_its_images_alone(name: str, fitted: Callable[..., Any]) -> None:
    model = fitted(name, GREY)
    method = untrained(model)
    images = pixels_for(model, images_for(model, 4))
    before = images.clone()
    method.training_step(images)
    assert torch.equal(images, before)


@every_pair
def test_the_last_batch_of_an_epoch_may_be_one_image(name: str, domain: str, fitted: Callable[..., Any]) -> None:
    model = fitted(name, domain)
    method = untrained(model)
    losses = method.training_step(pixels_for(model, images_for(model, 1)))
    assert "loss" in losses
    assert all(loss.isfinite() and loss.shape == () for loss in losses.values())


@every_method
def test_no_gradient_reaches_what_is_frozen(name: str, fitted: Callable[..., Any]) -> None:
    model = fitted(name, GREY)
    method = untrained(model)
    loss = method.training_step(pixels_for(model, images_for(model, 4)))["loss"]
    torch.autograd.backward(loss)
    assert all(parameter.grad is None for parameter in method.parameters() if not parameter.requires_grad)
    reached = [parameter.grad for parameter in trainable(method) if parameter.grad is not None]
    assert reached
    assert all(gradient.isfinite().all() for gradient in reached)


@every_pair
def test_training_moves_every_trainable_parameter_and_no_other(
    name: str, domain: str, fitted: Callable[..., Any]
) -> None:
    model = fitted(name, domain)
    for key, parameter in model.method.named_parameters():
        moved = not torch.equal(parameter.detach(), model.start[key])
        assert moved is parameter.requires_grad, key


@every_pair
def test_state_and_settings_are_the_whole_method(name: str, domain: str, fitted: Callable[..., Any]) -> None:
    model = fitted(name, domain)
    torch.manual_seed(999)
    fresh = Detector.from_config(model.config)
    fresh.method.load_state_dict(model.method.state_dict())
    images = images_for(model, 2)
    assert all(map(torch.equal, look(fresh, images), look(detector_of(model), images)))


@pytest.mark.slow
@every_method
def test_gradients_of_a_map_reach_its_image(name: str, fitted: Callable[..., Any]) -> None:
    model = fitted(name, GREY)
    images = images_for(model, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(detector_of(model)(images).anomaly_map.sum(), images)
    assert gradient.isfinite().all()
    assert all(each.any() for each in gradient)


@every_method
def test_a_few_steps_lower_the_loss(name: str, fitted: Callable[..., Any]) -> None:
    log = fitted(name, GREY).log
    if not log:
        pytest.skip(f"{name} learns without gradients")
    losses = [line["losses"]["loss"] for line in log if line["phase"] == log[-1]["phase"]]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


@every_method
def test_an_anomaly_shows_where_it_is(name: str, fitted: Callable[..., Any]) -> None:
    model = fitted(name, GREY)
    generator = np.random.default_rng(7)
    healthy = [draw_image(1, generator) for _ in range(6)]
    masks = [draw_mask(generator) for _ in healthy]
    sick = [plant(image, mask) for image, mask in zip(healthy, masks, strict=True)]
    inside = torch.from_numpy(np.stack(masks)).bool().unsqueeze(1)
    body = torch.from_numpy(np.stack(healthy)) > 0
    rise = map_of(model, torch.from_numpy(np.stack(sick))) - map_of(model, torch.from_numpy(np.stack(healthy)))
    assert rise[inside].mean() > 1.5 * rise[body & ~inside].abs().mean() > 0


@every_method
def test_outside_of_the_foreground_nothing_is_anomalous(name: str, fitted: Callable[..., Any]) -> None:
    model = fitted(name, GREY)
    images, plain = images_for(model, 3), {"smoothing": 0.0, "erosion": 0}
    anomaly_map = look(detector_of(model, foreground=Foreground.ABOVE_MINIMUM, **plain), images).anomaly_map
    background = images == 0
    assert (anomaly_map[background] == 0).all()
    torch.testing.assert_close(anomaly_map[~background], map_of(model, images)[~background], rtol=0, atol=0)
    everywhere = look(detector_of(model, foreground=Foreground.EVERYWHERE, **plain), images).anomaly_map
    assert torch.equal(everywhere, map_of(model, images))


@every_method
def test_the_score_follows_the_domains_rule_or_is_the_methods_own(name: str, fitted: Callable[..., Any]) -> None:
    model = fitted(name, GREY)
    images = images_for(model, 3)
    pixels, everywhere = pixels_for(model, images), Foreground.EVERYWHERE
    for rule, reduce in ((ScoreRule.MAXIMUM, torch.amax), (ScoreRule.MEAN, torch.mean)):
        prediction = look(detector_of(model, foreground=everywhere, score_rule=rule), images)
        with torch.no_grad():
            expected = model.method.score(pixels, reduce(prediction.anomaly_map, dim=(1, 2, 3)))
        assert prediction.score.shape == (3,)
        assert prediction.score.dtype == torch.float32
        torch.testing.assert_close(prediction.score, expected)


@every_pair
def test_a_reconstruction_is_an_image(name: str, domain: str, fitted: Callable[..., Any]) -> None:
    model = fitted(name, domain)
    images = images_for(model, 2)
    with torch.no_grad():
        drawn = model.method.reconstruct(pixels_for(model, images))
    assert drawn is None or (drawn.shape == images.shape and drawn.isfinite().all() and drawn.std() > 0)


@every_pair
def test_synthetic_anomalies_are_pictures_of_the_same_size(name: str, domain: str, fitted: Callable[..., Any]) -> None:
    model = fitted(name, domain)
    images = images_for(model, 2)
    for picture in model.method.synthetic(pixels_for(model, images)).values():
        assert picture.shape == images.shape
        assert picture.isfinite().all()
        assert not torch.equal(picture, pixels_for(model, images))


@every_method
def test_every_setting_has_a_default(name: str) -> None:
    assert registered()[name](1, 128).id == name


@every_method
def test_an_unknown_setting_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="surprise"):
        create(name, 1, 128, {"surprise": 1})


def test_an_unknown_method_gets_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="Did you mean vae"):
        create("vaee", 1, 128, {})


def test_two_methods_cannot_share_an_id() -> None:
    with pytest.raises(UsageError, match="Two methods"):
        register(next(iter(registered().values())))


def test_each_method_lives_in_the_file_of_its_name() -> None:
    for name in own_methods():
        assert registered()[name].__module__ == f"upd_zoo.methods.{name.replace('-', '_')}"
