"""The loop that an expert would write by hand, for the benches of models that return a loss."""

import torch


def train_by_hand(module, loss, x, *, batch_size, epochs, lr):
    """Permute once an epoch, slice, fused Adam, one cycle of the learning rate by the step."""
    optimizer = torch.optim.Adam(module.parameters(), lr=lr, fused=True)
    steps = epochs * -(-len(x) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps + 1)
    for _ in range(epochs):
        shuffled = x[torch.randperm(len(x))]
        for first in range(0, len(x), batch_size):
            optimizer.zero_grad()
            loss(shuffled[first : first + batch_size]).backward()
            optimizer.step()
            schedule.step()
    return module
