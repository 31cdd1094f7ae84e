"""The detector: a method with its pixel convention, foreground and score rule; the only thing that is exported."""

import torch
from torch import Tensor, nn

from upd_zoo.artefact.records import Config
from upd_zoo.layers.foreground import above_minimum, eroded
from upd_zoo.layers.smoothing import Smoothing
from upd_zoo.method import Method, Prediction
from upd_zoo.registry import create
from upd_zoo.vocabulary import Foreground, ScoreRule


class Detector(nn.Module):
    """Images in [0, 1] in, map and score out; everything between happens inside its graph.

    Args:
        method: What draws the map.
        centred: Whether the method takes pixels in [-1, 1] instead of [0, 1].
        foreground: Which pixels can be anomalous; the map is exactly 0 elsewhere.
        score_rule: How a map becomes a score where the method has none of its own.
        smoothing: What smooths the map before all else; None where nothing does.
        erosion: Pixels by which tissue is eroded before it is the foreground.
    """

    def __init__(
        self,
        method: Method,
        *,
        centred: bool,
        foreground: Foreground,
        score_rule: ScoreRule,
        smoothing: Smoothing | None = None,
        erosion: int = 0,
    ) -> None:
        super().__init__()
        self.method, self.smoothing, self.erosion = method, smoothing, erosion
        self.centred, self.foreground, self.score_rule = centred, foreground, score_rule

    @classmethod
    def from_config(cls, config: Config, method: Method | None = None) -> "Detector":
        """Return the detector that a configuration describes, in evaluation mode.

        Args:
            config: What it is.
            method: Its method, where one has been made; else a new and untrained one.
        """
        detector = cls(
            method or create(config.method, config.input.channels, config.input.side, config.settings),
            centred=config.centred,
            foreground=config.foreground,
            score_rule=config.score_rule,
            smoothing=Smoothing(config.input.side, config.smoothing) if config.smoothing else None,
            erosion=config.erosion,
        )
        return detector.eval()

    def pixels(self, image: Tensor) -> Tensor:
        """Return images in [0, 1] as the method takes them."""
        return image * 2 - 1 if self.centred else image

    def forward(self, image: Tensor) -> Prediction:
        """Return the prediction for images (B, C, H, W) float32 in [0, 1]."""
        pixels = self.pixels(image)
        anomaly_map = self.method.anomaly_map(pixels)
        if self.smoothing is not None:
            anomaly_map = self.smoothing(anomaly_map)
        highest = anomaly_map
        if self.foreground is Foreground.ABOVE_MINIMUM:
            inside = eroded(above_minimum(image), self.erosion)
            # The background is 0 in the map, but no candidate for its maximum: a map may be negative.
            highest = torch.where(inside, anomaly_map, anomaly_map.amin(dim=(1, 2, 3), keepdim=True))
            anomaly_map = torch.where(inside, anomaly_map, 0.0)
        pooled = highest.flatten(1).amax(1) if self.score_rule is ScoreRule.MAXIMUM else anomaly_map.mean((1, 2, 3))
        return Prediction(anomaly_map, self.method.score(pixels, pooled))
