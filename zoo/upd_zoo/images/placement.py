"""Where the voxels of a NIfTI file lie, in which unit, and how the same is said of a map on the same grid.

A header places its voxels in two forms: the sform, an affine, and the qform, a rotation. Programs prefer one or the
other, so a map repeats both as its scan has them, in the scan's own unit.

Source: the NIfTI-1.1 standard, methods 2 and 3 of orientation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError

from upd_zoo.caution import Caution, CautionCode
from upd_zoo.errors import InputError, InputErrorCode

Matrix = npt.NDArray[np.float64]

SHEAR_TOLERANCE: Final = 1e-3
"""Largest cosine between two voxel axes: over a head of 256 mm it moves the far edge by a quarter of a millimetre."""

_MILLIMETRES: Final = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""What the header's unit of length (not said, metre, millimetre, micron) is in millimetres."""
_LENGTH: Final = 7  # bits of xyzt_units that hold it
_FORMS: Final = (
    *("sform_code", "srow_x", "srow_y", "srow_z"),
    *("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    "xyzt_units",
)
_SIZES: Final = slice(4)  # of pixdim: the handedness of the qform, and the sizes of a voxel


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """What a header says of where its voxels lie, as stored.

    Attributes:
        forms: Fields of both forms, with their codes and the unit.
        sizes: (4,) beginning of `pixdim`, which the qform needs.
    """

    forms: Mapping[str, Any]
    sizes: npt.NDArray[Any]

    @classmethod
    def of(cls, header: Any) -> "Placement":
        """Return what a header of nibabel says."""
        return cls({name: header[name].copy() for name in _FORMS}, header["pixdim"][_SIZES].copy())

    @classmethod
    def in_millimetres(cls, affine: Matrix) -> "Placement":
        """Return what says the same as an affine, in both forms."""
        header = Nifti1Header()
        header.set_sform(affine, code=1)
        header.set_qform(affine, code=1)
        header.set_xyzt_units("mm")
        return cls.of(header)

    def put(self, header: Nifti1Header) -> None:
        """Write it into the header of an image on the same grid."""
        for name, value in self.forms.items():
            header[name] = value
        header["pixdim"][_SIZES] = self.sizes


def affine_of(header: Any) -> Matrix:
    """Return the sform, or the qform where there is no sform, (4, 4) float64, in millimetres.

    Raises:
        InputError: There is neither, or it does not map the grid to orthogonal axes in space (`geometry`).
    """
    affine = _stored_affine(header)
    affine[:3] *= _unit_of(header)
    if not np.isfinite(affine).all():
        raise _misplaced("its affine is not finite")
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / np.where(sizes == 0, 1, sizes)
    if sizes.min() == 0 or abs(np.linalg.det(axes)) < 1e-6:
        raise _misplaced("its affine is singular")
    if np.abs(axes.T @ axes - np.eye(3)).max() > SHEAR_TOLERANCE:
        raise _misplaced("its affine is sheared")
    return affine


def cautions_of(header: Any, affine: Matrix, shape: tuple[int, int, int]) -> tuple[Caution, ...]:
    """Return what is doubtful where both forms of a header are set and disagree.

    Args:
        header: Of nibabel.
        affine: From `affine_of`.
        shape: Of the volume.
    """
    if header["sform_code"] <= 0 or header["qform_code"] <= 0:
        return ()
    used = "The sform is used; programs that read the qform see the scan, and its map, elsewhere."
    try:
        other = _qform(header)
    except InputError:
        return (Caution(CautionCode.FORMS, f"Its qform is no rotation. {used}"),)
    other[:3] *= _unit_of(header)
    corners = np.indices((2, 2, 2, 1)).reshape(4, -1) * (np.array([*shape, 2])[:, None] - 1)
    corners[3] = 1
    apart = float(np.linalg.norm((affine - other)[:3] @ corners, axis=0).max())
    if np.linalg.det(affine[:3, :3]) * np.linalg.det(other[:3, :3]) < 0:
        return (Caution(CautionCode.FORMS, f"Its sform and qform disagree about left and right. {used}"),)
    if apart > np.linalg.norm(affine[:3, :3], axis=0).min():
        return (Caution(CautionCode.FORMS, f"Its sform and qform place it up to {apart:.3g} mm apart. {used}"),)
    return ()


def _stored_affine(header: Any) -> Matrix:
    """Return the affine that the header's codes choose, unchecked, in its own unit."""
    if header["sform_code"] > 0:
        return np.array(header.get_sform(), np.float64)
    if header["qform_code"] <= 0:
        raise _misplaced("it has neither sform nor qform: nothing says where left and right are")
    return _qform(header)


def _qform(header: Any) -> Matrix:
    if header["pixdim"][0] == 0:  # the standard reads a qfac of zero as one
        header["pixdim"][0] = 1
    try:
        return np.array(header.get_qform(), np.float64)
    except (HeaderDataError, ValueError) as error:
        raise _misplaced("its qform is no rotation") from error


def _unit_of(header: Any) -> float:
    """Return the unit of length of a header in millimetres."""
    code = int(header["xyzt_units"]) & _LENGTH
    if code not in _MILLIMETRES:
        problem = f"its header names an unknown unit of length, {code} (xyzt_units)"
        raise InputError(InputErrorCode.GEOMETRY, problem, "metre, millimetre or micron", "export it again")
    return _MILLIMETRES[code]


def _misplaced(problem: str) -> InputError:
    accepted = "an sform or qform with three orthogonal axes"
    return InputError(InputErrorCode.GEOMETRY, problem, accepted, "resample the volume to a regular grid")
