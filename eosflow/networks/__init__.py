"""Networks: their settings, their parameters, what a pass through them costs.

To add one: a module with a frozen dataclass as in `eosflow.networks.base`, and a line here.
Standard library alone: torch is imported when a network is built.
"""

from __future__ import annotations

from eosflow.networks.base import NetworkSettings
from eosflow.networks.bert import BERTSettings
from eosflow.networks.cnn import CNNSettings
from eosflow.networks.lstm import LSTMSettings
from eosflow.networks.mlp import MLPSettings
from eosflow.networks.resnet import ResNetSettings
from eosflow.networks.vit import ViTSettings

NETWORKS: dict[str, type[NetworkSettings]] = {
    kind.name: kind
    for kind in (
        MLPSettings,
        CNNSettings,
        ResNetSettings,
        LSTMSettings,
        ViTSettings,
        BERTSettings,
    )
}
