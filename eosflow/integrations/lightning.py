"""A monitor as a callback of Lightning."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from eosflow.library.monitor import Monitor


class SharpnessCallback(Callback):
    """Measures a LightningModule while its Trainer trains it, and logs what it finds.

    `loss`, `data` and the other settings are those of `eosflow.Monitor`; the module's `forward`
    gives the outputs, and the optimizer is the module's first. `monitor` is there once training has
    started. The numbers go to the Trainer's logger as `eosflow/NAME/COLUMN`.
    """

    def __init__(self, loss: Any, data: Any, **settings: Any) -> None:
        self._arguments, self._settings = (loss, data), settings
        self.monitor: Monitor | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the monitor."""
        optimizer = trainer.optimizers[0] if trainer.optimizers else None
        settings = {"optimizer": optimizer, **self._settings}
        self.monitor = Monitor(pl_module, *self._arguments, **settings)
        self._steps = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *batch: Any, **more: Any
    ) -> None:
        """Count the optimizer's steps; while gradients are gathered there is none."""
        assert self.monitor is not None
        before, self._steps = self._steps, trainer.global_step
        if before < self._steps and self.monitor.step():
            latest = {f"eosflow/{name}": value for name, value in self.monitor.latest.items()}
            for logger in trainer.loggers:
                logger.log_metrics(latest, step=trainer.global_step)
