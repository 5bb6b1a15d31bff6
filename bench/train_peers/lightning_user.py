"""Lightning's Trainer with its defaults: progress bar, logger and a checkpoint after each epoch."""

from functools import partial

import lightning as L
import torch
from common import Clock, images_of, read_task, report, test_loss
from torch.utils.data import DataLoader, TensorDataset
from torch_network import VAE, loss_of, pass_through, shown


class LitVAE(L.LightningModule):
    def __init__(self, task) -> None:
        super().__init__()
        self.vae = VAE(task)
        self.learning_rate = task.learning_rate

    def training_step(self, batch, batch_idx):
        (x,) = batch
        loss = loss_of(x, *self.vae(x))
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


class Timer(L.Callback):
    def on_train_epoch_end(self, trainer, pl_module) -> None:
        clock.epoch_ended()


task, clock = read_task(), Clock()
L.seed_everything(task.seed)

dataset = TensorDataset(torch.from_numpy(images_of(task.train)))
loader = DataLoader(dataset, batch_size=task.batch_size, shuffle=True, num_workers=0)
model = LitVAE(task)
clock.watch(task, partial(shown, model, model.vae.encoder, model.vae.decoder))
trainer = L.Trainer(max_epochs=task.epochs, accelerator="cpu", default_root_dir=task.folder, callbacks=[Timer()])
trainer.fit(model, loader)

vae = model.vae.eval()
report(
    task, clock, loss=test_loss(task, partial(pass_through, vae.encoder, vae.decoder)),
    threads=torch.get_num_threads(), parameters=sum(p.numel() for p in vae.parameters()),
    libraries=["lightning", "torch"],
)  # fmt: skip
