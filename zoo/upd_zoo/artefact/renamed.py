"""Settings of the zoo's methods that had other names: records from before are read as what they mean today."""

from collections.abc import Mapping
from typing import Any, Final

from upd_zoo.roster import own_methods

_RESIDUALS: Final = {1.0: "ssim", 2.0: "ssim-centred", 255.0: "ssim-8-bit"}
"""`residual` by the `dynamic_range` that stood in its place: the recipes had these."""


def with_todays_names(method: object, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they are called today.

    A range that no recipe had stays as it is: such a model still runs from the files of its graph, and says that its
    class takes no such setting where torch is asked to make it.

    Args:
        method: Id of the method; settings of other packages' methods are their own.
        settings: As they were recorded.
    """
    named = {**settings}
    span = named.get("dynamic_range")
    if isinstance(span, int | float) and span in _RESIDUALS and method in own_methods():
        del named["dynamic_range"]
        named["residual"] = _RESIDUALS[span]
    return named
