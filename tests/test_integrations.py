"""Monitors in the loops of Lightning and of the Trainer of transformers, with these themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from own_modules import C, D
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import eosflow

STEPS, EVERY = 12, 4
MEASURE = [eosflow.TopEigenvalues(k=2, every=EVERY)]


def examples() -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(0)
    inputs = torch.randn(24, D, generator=stream)
    return inputs, torch.randint(0, C, (24,), generator=stream)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(D, 5), nn.Tanh(), nn.Dropout(0.2), nn.Linear(5, C))


def check(monitor: eosflow.Monitor | None, logged: list[dict[str, Any]]) -> None:
    """Looks at the right steps, the optimizer's edge, and a log that has the numbers."""
    assert monitor is not None and monitor.iteration == STEPS
    frame = monitor.frames["top-eigenvalues"]
    assert list(frame["iteration"]) == [4, 8, 12]
    assert monitor.no_edge == "" and frame["over_edge"].notna().all()
    column = "eosflow/top-eigenvalues/eigenvalue_1"
    assert [row[column] for row in logged if column in row] == frame["eigenvalue_1"].tolist()


def lightning_module() -> Any:
    pytorch = pytest.importorskip("lightning.pytorch")

    class Module(pytorch.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, x: Tensor) -> Any:
            return self.network(x)

        def training_step(self, batch: Any, number: int) -> Tensor:
            return functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=0.01)

    return Module()


@pytest.mark.parametrize("gathered", [1, 2])
def test_a_lightning_trainer(gathered: int, tmp_path: Path) -> None:
    pytorch = pytest.importorskip("lightning.pytorch")
    from lightning.pytorch.loggers.logger import DummyLogger

    from eosflow.integrations.lightning import SharpnessCallback

    logged: list[dict[str, Any]] = []

    class Log(DummyLogger):  # type: ignore[misc]
        def log_metrics(self, metrics: Any, step: int) -> None:
            logged.append({"step": step, **metrics})

    weights = []
    for callbacks in ([], [SharpnessCallback("cross_entropy", examples(), measure=MEASURE)]):
        torch.manual_seed(1)
        module = lightning_module()
        trainer = pytorch.Trainer(
            max_steps=STEPS,
            accumulate_grad_batches=gathered,
            accelerator="cpu",
            callbacks=callbacks,
            logger=Log(),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(module, DataLoader(TensorDataset(*examples()), batch_size=4, shuffle=True))
        weights.append(nn.utils.parameters_to_vector(module.parameters()))
    assert torch.equal(*weights)
    check(callbacks[0].monitor, logged)
    assert [row["step"] for row in logged if len(row) > 5] == [4, 8, 12]


@pytest.mark.parametrize(("gathered", "attached"), [(1, False), (2, True)])
def test_a_trainer_of_transformers(gathered: int, attached: bool, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from eosflow.integrations.transformers import SharpnessCallback

    class Rows(TensorDataset):
        def __getitem__(self, row: int) -> Any:
            inputs, label = super().__getitem__(row)
            return {"inputs": inputs, "labels": label}

    class Own(Trainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, *more: Any, **settings: Any) -> Any:
            return functional.cross_entropy(model(inputs["inputs"]), inputs["labels"])

    logged: list[dict[str, Any]] = []

    class Logger(TrainerCallback):  # type: ignore[misc]
        def on_log(self, *parts: Any, logs: Any, **more: Any) -> None:
            logged.append(dict(logs))

    weights = []
    callback = SharpnessCallback("cross_entropy", examples(), measure=MEASURE)
    for watched in (False, True):
        module = network()
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=STEPS,
            gradient_accumulation_steps=gathered,
            per_device_train_batch_size=4,
            learning_rate=0.01,
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        callbacks = [Logger()] if attached or not watched else [callback]
        trainer = Own(module, arguments, train_dataset=Rows(*examples()), callbacks=callbacks)
        if watched and attached:
            assert callback.attach(trainer) is callback
        trainer.train()
        weights.append(nn.utils.parameters_to_vector(module.parameters()))
    assert torch.equal(*weights)
    check(callback.monitor, trainer.state.log_history)
    if attached:  # what loggers such as those of Weights & Biases are given
        check(callback.monitor, logged)
