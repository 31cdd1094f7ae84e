"""Write the JSON Schemas of the artefact's records into the package, or check that they are current.

    python scripts/schemas.py
    python scripts/schemas.py --check

Exit code 1: a schema is missing, changed or left over.
"""

from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic.json_schema import GenerateJsonSchema

import upd_zoo.schemas
from upd_harness.cli.terminal import Terminal, reports_errors
from upd_zoo.errors import UpdZooError
from upd_zoo.files import to_json, write_text

FOLDER: Final = Path(upd_zoo.schemas.__file__).parent
_SUFFIX: Final = ".schema.json"


def schema_texts() -> dict[str, str]:
    """Return the text of each schema by its file name."""
    dialect = {"$schema": GenerateJsonSchema.schema_dialect}
    return {
        f"{name}{_SUFFIX}": to_json(dialect | kind.model_json_schema(by_alias=True)) + "\n"
        for name, kind in upd_zoo.schemas.SCHEMAS.items()
    }


def check_current(texts: dict[str, str], folder: Path) -> None:
    """Compare the schemas in a folder with what they should be.

    Raises:
        UpdZooError: One is missing, differs, or belongs to no record.
    """
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob(f"*{_SUFFIX}")}
    stale = sorted(name for name in {*texts, *found} if texts.get(name) != found.get(name))
    if stale:
        raise UpdZooError(
            f"these schemas are not current: {', '.join(stale)}",
            "schemas as the records of upd_zoo.schemas define them",
            "write them with python scripts/schemas.py, and delete what is left over",
        )


@reports_errors
def main(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail where one is not current.")] = False,
    folder: Annotated[Path, typer.Option(help="Where the schemas are.")] = FOLDER,
) -> None:
    """Write the JSON Schemas of the artefact's records, or check that they are current."""
    texts = schema_texts()
    if check:
        check_current(texts, folder)
        return
    for name, text in texts.items():
        write_text(folder / name, text)
        Terminal().data(name, str(folder / name))


if __name__ == "__main__":
    typer.run(main)
