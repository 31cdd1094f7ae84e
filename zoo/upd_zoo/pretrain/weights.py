"""Pre-trained weights as files: how they are written, and how a method starts from them."""

from collections.abc import Sequence
from pathlib import Path

from upd_zoo.artefact.folder import files_of, verify
from upd_zoo.artefact.provenance import hand_over, write_manifest
from upd_zoo.artefact.record import read_record, write_record
from upd_zoo.artefact.records import CONFIG, WEIGHTS, Backbone, WeightsOrigin
from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.files import replacing_folder
from upd_zoo.fitting.checkpoint import plain
from upd_zoo.layers.encoder import Encoder, origin_of, read_weights
from upd_zoo.layers.normalisation import DRAWN, Pixels
from upd_zoo.recipe import Recipe
from upd_zoo.runtime.tensors import write_tensors
from upd_zoo.vocabulary import Pretrain, Protocol


def write_backbone(folder: Path, backbone: Backbone, encoder: Encoder, run: Path) -> None:
    """Write the folder of a pre-trained network, whole or not at all.

    Args:
        folder: Where.
        backbone: What it is.
        encoder: The network.
        run: Folder of the run that trained it.
    """
    with replacing_folder(folder, files_of(folder, backbone.id)) as temporary:
        write_record(temporary / CONFIG, backbone)
        write_tensors(temporary / WEIGHTS, plain(encoder.tensors()))
        hand_over(run, temporary, None)
        write_manifest(temporary, backbone.id)


def start_from(encoders: Sequence[Encoder], folder: Path, recipe: Recipe) -> tuple[WeightsOrigin, Backbone]:
    """Let the encoders of a method start from a pre-trained network.

    Args:
        encoders: At least one, all of the same network; changed in place.
        folder: What `write_backbone` wrote.
        recipe: That of the method.

    Returns:
        Where the weights came from, and how they were made.

    Raises:
        NotFoundError: The folder holds no such network.
        IntegrityError: A file differs from the manifest, or the tensors are not those of the encoders.
        UsageError: The network is another, or was pre-trained on other images, or under another protocol.
    """
    if not (folder / CONFIG).is_file():
        raise NotFoundError(
            f"there is no pre-trained network in {folder}",
            f"a folder with {CONFIG} and {WEIGHTS}",
            f"make RUN/backbone with upd-zoo pretrain {recipe.method}-{recipe.domain.id}-ccd -o RUN",
        )
    verify(folder)
    backbone = read_record(folder / CONFIG, Backbone)
    _check_fit(backbone, encoders[0], recipe)
    tensors = read_weights(folder / WEIGHTS)
    for encoder in encoders:
        encoder.fill(tensors, backbone.id)
    start = backbone.weights_origin
    pixels = Pixels(start.mean or DRAWN.mean, start.std or DRAWN.std, start.pixels)
    return origin_of(encoders, Pretrain.CCD, backbone.id, pixels), backbone


def _check_fit(backbone: Backbone, encoder: Encoder, recipe: Recipe) -> None:
    """Refuse a network that was not made for this method and these images."""
    pairs: dict[str, tuple[object, object]] = {
        "network": (backbone.encoder, encoder.name),
        "domain": (backbone.domain, recipe.domain.id),
        "protocol": (backbone.protocol, recipe.protocol),
        "normalisation": (backbone.weights_origin.mean is not None, encoder.normalisation is not None),
        "side of images": (backbone.side, recipe.side),
    }
    if recipe.protocol is not Protocol.STUDY:  # which starts networks of one pixel convention from those of another
        pairs["number of times that pixels are centred"] = (backbone.settings["centrings"], int(recipe.centred))
    for what, (found, needed) in pairs.items():
        if found != needed:
            raise UsageError(
                f"{backbone.id} was pre-trained with another {what}: {found}",
                str(needed),
                f"upd-zoo pretrain {recipe.method}-{recipe.domain.id}-ccd --side {recipe.side}",
            )
