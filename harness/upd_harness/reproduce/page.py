"""The files of a reproduction: Markdown, CSV and JSON, pictures, and one page with everything inside."""

from pathlib import Path

from upd_harness.report.html import data_uri, write_page
from upd_harness.report.run_record import utc_now, versions
from upd_harness.reproduce.result import Reproduction
from upd_zoo.files import write_bytes, write_json, write_text


def write_reproduction(result: Reproduction, folder: Path) -> list[Path]:
    """Write a table or figure into a folder; return the files."""
    stem = folder / result.item
    paths = [stem.with_suffix(suffix) for suffix in (".md", ".json")]
    write_text(paths[0], result.markdown + "\n")
    write_json(paths[1], result.document)
    if result.cells:
        paths.append(stem.with_suffix(".csv"))
        write_text(paths[-1], result.csv)
    for suffix, content in result.pictures.items():
        paths.append(stem.with_suffix(suffix))
        write_bytes(paths[-1], content)
    return [*paths, _write_page(result, stem.with_suffix(".html"))]


def _write_page(result: Reproduction, path: Path) -> Path:
    pictures = [(result.heading, uri) for content in result.pictures.values() if (uri := data_uri(content))]
    return write_page(
        path,
        "reproduction.html.jinja",
        title=result.heading,
        labels=[result.banner] if result.banner else [],
        models=[],
        text=result.text,
        blocks=result.blocks,
        pictures=pictures,
        provenance={"Made": utc_now()} | versions(),
    )
