"""The structural similarity, against scikit-image's."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch.nn import functional as F

from upd_zoo.layers.similarity import SSIMResidual

pytestmark = pytest.mark.slow
EDGE = 5
"""Half of the window: nearer to the border, scikit-image mirrors where the study pads with zeros."""


@pytest.mark.parametrize("dynamic_range", [1.0, 2.0, 255.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_residual_is_one_minus_scikit_images_similarity(dynamic_range: float, channels: int) -> None:
    coarse = torch.rand(2, channels, 20, 20, generator=torch.Generator().manual_seed(0))
    x = F.interpolate(coarse, (128, 128), mode="bilinear")
    y = (x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    found = SSIMResidual(dynamic_range, 128)(x, y).numpy()
    for number in range(2):
        _, similarity = structural_similarity(
            x[number].double().numpy(),
            y[number].double().numpy(),
            data_range=dynamic_range,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        expected = (1 - similarity).clip(0, 1).mean(axis=0)
        inner = (slice(EDGE, -EDGE), slice(EDGE, -EDGE))
        np.testing.assert_allclose(found[number, 0][inner], expected[inner], rtol=1e-4, atol=1e-7)
