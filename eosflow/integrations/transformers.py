"""A monitor as a callback of the Trainer of transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eosflow.library.monitor import Monitor


class SharpnessCallback(TrainerCallback):
    """Measures a model while a `transformers.Trainer` trains it, and logs what it finds.

    `loss`, `data` and the other settings are those of `eosflow.Monitor`. `monitor` is there once
    training has started. The numbers are in `trainer.state.log_history` as `eosflow/NAME/COLUMN`.
    They go to the Trainer's loggers too, such as Weights & Biases, with
    `SharpnessCallback(…).attach(trainer)`: a callback alone does not know its Trainer.
    """

    def __init__(self, loss: Any, data: Any, **settings: Any) -> None:
        self._arguments, self._settings = (loss, data), settings
        self.monitor: Monitor | None = None
        self._log: Callable[[dict[str, float]], None] | None = None

    def attach(self, trainer: Trainer) -> SharpnessCallback:
        """Join the callbacks of a Trainer, and log by its `log`; returns itself."""
        trainer.add_callback(self)
        self._log = trainer.log
        return self

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Make the monitor."""
        settings = {"optimizer": parts.get("optimizer"), **self._settings}
        self.monitor = Monitor(parts["model"], *self._arguments, **settings)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Count a step of the optimizer."""
        assert self.monitor is not None
        if self.monitor.step():
            latest = {f"eosflow/{name}": value for name, value in self.monitor.latest.items()}
            if self._log is not None:
                self._log(latest)
            else:
                state.log_history.append({"step": state.global_step, **latest})
