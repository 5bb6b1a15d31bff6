"""The plain loop of a PyTorch notebook: DataLoader in this process, float images, loss.item() at each step."""

from functools import partial

import torch
from common import Clock, images_of, read_task, report, test_loss
from torch.utils.data import DataLoader, TensorDataset
from torch_network import VAE, loss_of, pass_through, shown

task, clock = read_task(), Clock()
torch.manual_seed(task.seed)

dataset = TensorDataset(torch.from_numpy(images_of(task.train)))
loader = DataLoader(dataset, batch_size=task.batch_size, shuffle=True, num_workers=0)
model = VAE(task)
clock.watch(task, partial(shown, model, model.encoder, model.decoder))
optimizer = torch.optim.Adam(model.parameters(), lr=task.learning_rate)

for epoch in range(task.epochs):
    model.train()
    total = 0.0
    for (x,) in loader:
        logits, mean, log_var = model(x)
        loss = loss_of(x, logits, mean, log_var)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
    print(f"epoch {epoch + 1}: loss {total / len(dataset):.1f}")
    clock.epoch_ended()

model.eval()
report(
    task, clock, loss=test_loss(task, partial(pass_through, model.encoder, model.decoder)),
    threads=torch.get_num_threads(), parameters=sum(p.numel() for p in model.parameters()), libraries=["torch"],
)  # fmt: skip
