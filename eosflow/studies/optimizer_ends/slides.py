"""Tables 3 to 5 of Roberts' slides: test accuracies of networks and data that were not run here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

NOT_RUN = "not run"
# Accuracy and its standard error in percent, by problem and method.
PRINTED: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "CIFAR-100, ResNet-20, no augmentation": {
        "SGD": (51.43, 0.41),
        "SAM": (58.98, 0.52),
        "SGD-TRACER": (63.47, 0.32),
    },
    "CIFAR-100, ResNet-20, augmentation": {
        "SGD": (70.02, 0.36),
        "SAM": (70.33, 0.22),
        "SGD-TRACER": (70.71, 0.36),
    },
    "CIFAR-100, ResNet-20, 50 % label noise, no augmentation": {
        "SGD": (21.96, 0.36),
        "SAM": (49.89, 0.32),
        "SGD-TRACER": (51.62, 0.18),
    },
    "CIFAR-100, ViT, augmentation": {
        "SGD": (37.7, 0.71),
        "SAM": (38.2, 0.52),
        "SAM, batch-split": (38.7, 0.44),
        "SGD-TRACER": (39.1, 0.32),
        "SGD-TRACER, batch-split": (41.6, 0.28),
    },
    "BOOLQ, BERT base uncased": {
        "Adam": (73.84, 0.14),
        "SAM": (73.95, 0.13),
        "Adam-TRACER": (75.09, 0.04),
    },
    "WIC, BERT base uncased": {
        "Adam": (69.36, 0.08),
        "SAM": (69.06, 0.07),
        "Adam-TRACER": (70.01, 0.06),
    },
    "RTE, BERT base uncased": {
        "Adam": (69.18, 0.33),
        "SAM": (69.54, 0.28),
        "Adam-TRACER": (70.13, 0.18),
    },
}


def _rows() -> Iterator[dict[str, Any]]:
    for problem, methods in PRINTED.items():
        for method, (accuracy, error) in methods.items():
            yield {
                "problem": problem,
                "method": method,
                "statistic": "source",
                "stopped": NOT_RUN,
                "source_accuracy": round(accuracy / 100, 6),
                "source_error": round(error / 100, 6),
            }


# The rows of the study's table.
SOURCES = tuple(_rows())
