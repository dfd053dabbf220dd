"""One file per project: how to recognise its checkpoints and rename their entries."""

from __future__ import annotations

from tdpn_core.weights.project import Project
from tdpn_core.weights.projects.efficientnet_lite import EFFICIENTNET_LITE
from tdpn_core.weights.projects.gluon import GLUON
from tdpn_core.weights.projects.huggingface_videomae import HUGGINGFACE_VIDEOMAE
from tdpn_core.weights.projects.mmaction2 import MMACTION2
from tdpn_core.weights.projects.pyslowfast import PYSLOWFAST
from tdpn_core.weights.projects.pytorch_i3d import PYTORCH_I3D
from tdpn_core.weights.projects.pytorchvideo import PYTORCHVIDEO
from tdpn_core.weights.projects.tdn import TDN
from tdpn_core.weights.projects.torchvision import TORCHVISION
from tdpn_core.weights.projects.torchvision_mvit import TORCHVISION_MVIT
from tdpn_core.weights.projects.torchvision_swin import TORCHVISION_SWIN
from tdpn_core.weights.projects.torchvision_video import TORCHVISION_VIDEO
from tdpn_core.weights.projects.tpn import TPN
from tdpn_core.weights.projects.tsm import TSM

PROJECTS: tuple[Project, ...] = (
    TORCHVISION,
    TORCHVISION_VIDEO,
    TORCHVISION_SWIN,
    TORCHVISION_MVIT,
    HUGGINGFACE_VIDEOMAE,
    GLUON,
    TPN,
    MMACTION2,
    PYTORCHVIDEO,
    PYSLOWFAST,
    TSM,
    TDN,
    PYTORCH_I3D,
    EFFICIENTNET_LITE,
)
