"""pythae's TrainingPipeline with an encoder and a decoder of one's own.

pythae's "bce" wants probabilities, so the sigmoid stands at the end of the decoder and the loss is the same.
"""

from functools import partial

import torch
from common import Clock, images_of, read_task, report, test_loss
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.pipelines import TrainingPipeline
from pythae.trainers import BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch_network import Decoder, Encoder, pass_through, shown


class MyEncoder(BaseEncoder):
    def __init__(self, task) -> None:
        BaseEncoder.__init__(self)
        self.body = Encoder(task)

    def forward(self, x):
        mean, log_var = self.body(x)
        return ModelOutput(embedding=mean, log_covariance=log_var)


class MyDecoder(BaseDecoder):
    def __init__(self, task) -> None:
        BaseDecoder.__init__(self)
        self.body = Decoder(task)

    def forward(self, z):
        return ModelOutput(reconstruction=torch.sigmoid(self.body(z)))


class Timer(TrainingCallback):
    def on_epoch_end(self, training_config, **kwargs) -> None:
        clock.epoch_ended()


task, clock = read_task(), Clock()
torch.manual_seed(task.seed)

shape = VAEConfig(input_dim=(1, task.size, task.size), latent_dim=task.latent_dim, reconstruction_loss="bce")
model = VAE(shape, encoder=MyEncoder(task), decoder=MyDecoder(task))
settings = BaseTrainerConfig(
    output_dir=task.folder, num_epochs=task.epochs, per_device_train_batch_size=task.batch_size,
    optimizer_cls="Adam", learning_rate=task.learning_rate, no_cuda=True, seed=task.seed,
)  # fmt: skip
clock.watch(task, partial(shown, model, model.encoder.body, model.decoder.body))
pipeline = TrainingPipeline(model=model, training_config=settings)
pipeline(train_data=images_of(task.train), callbacks=[Timer()])

model.eval()
report(
    task, clock, loss=test_loss(task, partial(pass_through, model.encoder.body, model.decoder.body)),
    threads=torch.get_num_threads(), parameters=sum(p.numel() for p in model.parameters()),
    libraries=["pythae", "torch"],
)  # fmt: skip
