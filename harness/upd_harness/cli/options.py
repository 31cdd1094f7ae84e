"""The options that several commands share, each spelled and explained once."""

from pathlib import Path
from typing import Annotated

import typer

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A name such as rd-brats-t2, or an artefact's folder.")
]
ModelOption = Annotated[str, typer.Option("-m", "--model", help="A name such as rd-brats-t2, or an artefact's folder.")]
Revision = Annotated[str | None, typer.Option("--revision", help="Which revision, such as seed-1.")]
HubOption = Annotated[str | None, typer.Option("--hub", help="hf://ORG or a folder.", envvar="UPD_ZOO_HUB")]
Offline = Annotated[bool, typer.Option("--offline", help="Use nothing but what is already here.")]
Token = Annotated[str | None, typer.Option("--token", help="Access token of the Hugging Face Hub.")]
CacheDir = Annotated[Path | None, typer.Option("--cache-dir", help="Where pulled files are kept.")]
Device = Annotated[str, typer.Option("-d", "--device", help="auto, cpu, cuda or cuda:N.")]
Backend = Annotated[str, typer.Option("--backend", help="onnx, torchscript or torch.")]
Precision = Annotated[str, typer.Option("--precision", help="float32; or bfloat16, with --backend torch.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images per call of the network.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads of the network.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but data and errors.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Show no progress.")]
