"""Hugging Face's `VideoMAEForVideoClassification`, from the package transformers: small, base and large."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tdpn_core.errors import CheckpointError
from tdpn_core.model.baselines.videomae import FORMS
from tdpn_core.weights.project import Entries, Finding, Project
from tdpn_core.weights.protocol import IMAGENET, Protocol
from tdpn_core.weights.rename_rules import Drop, Rename, Rule

_PARTS = {
    r"attention\.attention\.(query|value)\.(weight|bias)": r"attn.\1.\2",
    r"attention\.attention\.(key\.weight)": r"attn.\1",
    r"attention\.attention\.q_bias": "attn.query.bias",  # transformers 5 writes query.bias
    r"attention\.attention\.v_bias": "attn.value.bias",
    r"attention\.output\.dense\.(.+)": r"attn.proj.\1",
    r"intermediate\.dense\.(.+)": r"mlp.0.\1",
    r"output\.dense\.(.+)": r"mlp.2.\1",
    r"layernorm_before\.(.+)": r"norm1.\1",
    r"layernorm_after\.(.+)": r"norm2.\1",
}
"""Entries of a block in the project, and in tdpn."""

_REST: tuple[Rule, ...] = (
    Drop(r".+\.key\.bias", "does not change the attention"),
    Rename(r"videomae\.embeddings\.patch_embeddings\.projection\.(.+)", r"backbone.patch_embed.proj.\1"),
    Rename(r"fc_norm\.(.+)", r"backbone.norm.\1"),
    Rename(r"classifier\.(.+)", r"head.linear.action.\1"),
)


def _block_rules(count: int) -> Iterator[Rule]:
    quarter = count // 4
    for number in range(count):
        place = f"backbone.layer{number // quarter + 1}.{number % quarter}"
        for theirs, ours in _PARTS.items():
            yield Rename(rf"videomae\.encoder\.layer\.{number}\.{theirs}", f"{place}.{ours}")


def examine(entries: Entries) -> Finding:
    """Determine the size from the channels and the number of blocks.

    Raises:
        CheckpointError: it is none that we have.
    """
    projection = entries.shape("videomae.embeddings.patch_embeddings.projection.weight")
    channels, count = projection[0], len(entries.distinct(r"videomae\.encoder\.layer\.(\d+)\..+"))
    arch = next((arch for arch, (width, _, blocks) in FORMS.items() if (width, blocks) == (channels, count)), None)
    if arch is None:
        what = f"a VideoMAE of {channels} channels and {count} blocks, which is not supported"
        raise CheckpointError(what, hint=f"known forms: {', '.join(FORMS)}")
    settings: dict[str, Any] = {"name": "videomae", "arch": arch, "num_frames": 16}
    if "classifier.weight" in entries.tensors:
        settings["num_classes"] = {"action": entries.shape("classifier.weight")[0]}
    return Finding(settings=settings, rules=(*_REST, *_block_rules(count)), layout="NTCHW")


HUGGINGFACE_VIDEOMAE = Project(
    name="Hugging Face's VideoMAE",
    marks=(
        r"videomae\.embeddings\.patch_embeddings\.projection\.weight",
        r"videomae\.encoder\.layer\.0\.attention\.attention\.query\.weight",
    ),
    examine=examine,
    pixels=IMAGENET,
    protocols={"videomae": Protocol("dense", 4, "5x3", 224)},
)
