"""Keras 3 on TensorFlow: a subclassed Model with a train_step of its own, compile() and fit(), jit_compile "auto".

Keras pads "same" on one side where torch's padding=1 pads both: the same arithmetic, shifted by a pixel. With
mixed_bfloat16 the latents and the logits stay float32, as Keras advises for outputs.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from common import Clock, cores, images_of, read_task, report, test_loss
from keras import layers


def make_encoder(task) -> keras.Model:
    x = inputs = keras.Input((task.size, task.size, 1))
    for width in task.widths:
        x = layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Flatten()(x)
    mean = layers.Dense(task.latent_dim, dtype="float32")(x)
    log_var = layers.Dense(task.latent_dim, dtype="float32")(x)
    return keras.Model(inputs, [mean, log_var])


def make_decoder(task) -> keras.Model:
    side = task.size >> len(task.widths)
    z = inputs = keras.Input((task.latent_dim,))
    x = layers.Dense(side * side * task.widths[-1], activation="relu")(z)
    x = layers.Reshape((side, side, task.widths[-1]))(x)
    for width in task.widths[-2::-1]:
        x = layers.Conv2DTranspose(width, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(1, 3, strides=2, padding="same")(x)
    return keras.Model(inputs, layers.Activation("linear", dtype="float32")(x))


class VAE(keras.Model):
    def __init__(self, task) -> None:
        super().__init__()
        self.encoder, self.decoder = make_encoder(task), make_decoder(task)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.seed_generator = keras.random.SeedGenerator(task.seed)

    @property
    def metrics(self):
        return [self.loss_tracker]

    def train_step(self, x):
        with tf.GradientTape() as tape:
            mean, log_var = self.encoder(x, training=True)
            noise = keras.random.normal(tf.shape(mean), seed=self.seed_generator, dtype="float32")
            logits = self.decoder(mean + tf.exp(0.5 * log_var) * noise, training=True)
            cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits)
            kl = -0.5 * (1 + log_var - tf.square(mean) - tf.exp(log_var))
            loss = tf.reduce_mean(tf.reduce_sum(cross_entropy, axis=(1, 2, 3)) + tf.reduce_sum(kl, axis=1))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}


class Timer(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None) -> None:
        clock.epoch_ended()


def passed(x):
    mean, log_var = exact.encoder.predict_on_batch(x.transpose(0, 2, 3, 1))
    return exact.decoder.predict_on_batch(mean).transpose(0, 3, 1, 2), mean, log_var


def shown(x):
    mean, _ = model.encoder.predict_on_batch(x.transpose(0, 2, 3, 1))
    return 1 / (1 + np.exp(-model.decoder.predict_on_batch(mean).transpose(0, 3, 1, 2).astype(np.float64)))


task, clock = read_task(), Clock()
keras.utils.set_random_seed(task.seed)
keras.mixed_precision.set_global_policy(task.precision or "float32")

images = images_of(task.train).transpose(0, 2, 3, 1)
model = VAE(task)
model.compile(optimizer=keras.optimizers.Adam(task.learning_rate))
clock.watch(task, shown)
model.fit(images, epochs=task.epochs, batch_size=task.batch_size, verbose=2, callbacks=[Timer()])

keras.mixed_precision.set_global_policy("float32")
exact = VAE(task)  # the same weights, which are float32 under every policy
exact.encoder.set_weights(model.encoder.get_weights())
exact.decoder.set_weights(model.decoder.get_weights())
report(
    task, clock, loss=test_loss(task, passed),
    threads=tf.config.threading.get_intra_op_parallelism_threads() or cores(),
    parameters=exact.encoder.count_params() + exact.decoder.count_params(),
    libraries=["keras", "tensorflow-cpu"],
)  # fmt: skip
