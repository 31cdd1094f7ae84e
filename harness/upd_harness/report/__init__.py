"""Pictures and pages for people: what a run found, in one HTML file that opens offline."""

from upd_harness.report.html import GalleryItem, write_evaluation_report, write_score_report
from upd_harness.report.overlay import colour_map, colour_range, overlay, thumbnail

__all__ = [
    "GalleryItem",
    "colour_map",
    "colour_range",
    "overlay",
    "thumbnail",
    "write_evaluation_report",
    "write_score_report",
]
