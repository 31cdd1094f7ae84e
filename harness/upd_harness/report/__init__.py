"""Pictures and pages for people: what a run found, in one HTML file that opens offline."""

from upd_harness.report.html import (
    GalleryItem,
    not_clearly_better,
    why_undefined,
    write_evaluation_report,
    write_score_report,
)
from upd_harness.report.overlay import colour_map, colour_range, overlay, thumbnail
from upd_harness.report.ranking import Survey, Unscored, survey

__all__ = [
    "GalleryItem",
    "Survey",
    "Unscored",
    "colour_map",
    "colour_range",
    "not_clearly_better",
    "overlay",
    "survey",
    "thumbnail",
    "why_undefined",
    "write_evaluation_report",
    "write_score_report",
]
