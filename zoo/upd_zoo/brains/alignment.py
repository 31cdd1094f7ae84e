"""Alignment: the affine transform under which a template looks most like a brain.

The brain stands still and the template moves, first turned and shifted, then also stretched and sheared, while the
correlation of both grows; where their contrasts differ, as of T2 and a T1 template, their mutual information does. Both
are 0 outside the brain, so that its border counts as much as what is inside.

Source: cards/study.md, section 5.2, for the stages. The study maximises mutual information with another library; on T1,
correlation ended nearer: Dice overlap of brain and template 0.950 to 0.955 after the first round, with mutual
information 0.912 to 0.944 (four heads).
"""

from typing import Any, Final

import numpy as np

from upd_zoo.brains.grid import Floats, Matrix, sitk, to_image, to_matrix, to_transform
from upd_zoo.brains.shapes import around
from upd_zoo.brains.template import COMPARED, Template, coarse
from upd_zoo.images.nifti import Volume

_COARSE: Final = ((4, 4.0),)
_FINE: Final = ((4, 4.0), (2, 2.0))
"""Levels: by how much images shrink, and the width in mm over which they are smoothed."""
_MARGIN: Final = 5
"""Voxels around a brain that are compared too."""
_ITERATIONS: Final = 150
_SAMPLED: Final = 0.15
"""Share of voxels that are compared."""
_SEED: Final = 1
"""Of where between voxels they are compared; SimpleITK's default is the clock."""


def align(brain: Floats, affine: Matrix, template: Template, *, like: bool = True) -> Matrix:
    """Return the transform (4, 4) from a brain's RAS+ millimetres to those of the template.

    Args:
        brain: (X, Y, Z), 0 outside the brain.
        affine: From its voxels to millimetres.
        template: What to find in it.
        like: Whether both have the same contrast.
    """
    fixed, moving = _compared(brain, affine, template)
    start = sitk().CenteredTransformInitializer(
        fixed, moving, sitk().Euler3DTransform(), sitk().CenteredTransformInitializerFilter.MOMENTS
    )
    rigid = _descended(fixed, moving, start, _COARSE, like)
    return to_matrix(_descended(fixed, moving, _affine_of(rigid), _FINE, like))


def refine(brain: Floats, affine: Matrix, template: Template, start: Matrix, *, like: bool = True) -> Matrix:
    """Return a better transform, from one that is nearly right; see `align`."""
    fixed, moving = _compared(brain, affine, template)
    return to_matrix(_descended(fixed, moving, to_transform(start), _FINE[1:], like))


def follow(fixed: Volume, moving: Volume) -> Matrix:
    """Return the transform (4, 4) between the millimetres of two scans of one head, which lay nearly still; rigid."""
    still, other = to_image(fixed.data, fixed.affine), to_image(moving.data, moving.affine)
    start = sitk().Euler3DTransform()
    start.SetCenter(still.TransformContinuousIndexToPhysicalPoint([length / 2 for length in fixed.data.shape]))
    return to_matrix(_descended(still, other, start, _FINE, like=False))


def likeness(brain: Floats, seen: Floats) -> float:
    """Return the correlation of a brain and the template seen on its grid, over all voxels of either."""
    shown = (brain > 0) | (seen > 0)
    return float(np.corrcoef(brain[shown], seen[shown])[0, 1])


def turned(transform: Matrix) -> float:
    """Return by how many degrees a transform turns what it moves; 180 where it also mirrors it."""
    left, _, right = np.linalg.svd(transform[:3, :3])
    rotation = left @ right
    if np.linalg.det(rotation) < 0:
        return 180.0
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


def _compared(brain: Floats, affine: Matrix, template: Template) -> tuple[Any, Any]:
    """Return images of a brain, near which alone something is compared, and of a template as fine as needed."""
    seen = coarse(template, COMPARED)
    near, placed = around(brain != 0, _MARGIN), affine.copy()
    placed[:3, 3] += affine[:3, :3] @ [part.start for part in near]
    return to_image(brain[near], placed), to_image(seen.data, seen.grid.affine)


def _affine_of(rigid: Any) -> Any:
    affine = sitk().AffineTransform(3)
    affine.SetCenter(rigid.GetCenter())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    return affine


def _descended(fixed: Any, moving: Any, start: Any, levels: tuple[tuple[int, float], ...], like: bool) -> Any:
    method = sitk().ImageRegistrationMethod()
    if like:
        method.SetMetricAsCorrelation()
    else:
        method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(_SAMPLED, _SEED)
    method.SetInterpolator(sitk().sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, _ITERATIONS, 0.7, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([factor for factor, _ in levels])
    method.SetSmoothingSigmasPerLevel([width for _, width in levels])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, moving)
    return start
