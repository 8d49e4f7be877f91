"""The work of the example epoch_time in PyTorch: seconds per epoch, 1 and 2 threads.

python epoch_time_torch.py

10,000 x 5,000 dense values, 5000-512-128-30 with a mirrored decoder, head 30-64-16, ReLU, mean
squared error and cross-entropy, Adam, batches of 256, rows shuffled every epoch.
"""

import statistics
import sys
import time

try:
    import torch
    from torch import nn
except ImportError:
    sys.exit("PyTorch is not installed: nothing was measured")

N_ROWS, N_GENES, N_CLASSES, BATCH, EPOCHS = 10_000, 5_000, 16, 256, 6


def chain(*dims):
    layers = []
    for i, (a, b) in enumerate(zip(dims, dims[1:])):
        layers += [nn.Linear(a, b)] + ([nn.ReLU()] if i < len(dims) - 2 else [])
    return nn.Sequential(*layers)


def measure(threads, fused):
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    labels = torch.arange(N_ROWS) % N_CLASSES
    values = torch.rand(N_ROWS, N_GENES)
    values += (torch.arange(N_GENES)[None, :] % N_CLASSES == labels[:, None]).float()
    encoder, decoder = chain(N_GENES, 512, 128, 30), chain(30, 128, 512, N_GENES)
    head = chain(30, 64, N_CLASSES)
    parameters = [p for part in (encoder, decoder, head) for p in part.parameters()]
    adam = torch.optim.Adam(parameters, lr=1e-3, fused=fused)
    seconds = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        order = torch.randperm(N_ROWS)
        for rows in order.tensor_split(round(N_ROWS / BATCH)):
            x = values[rows]
            code = encoder(x)
            loss = nn.functional.mse_loss(decoder(code), x)
            loss = loss + 0.3 * nn.functional.cross_entropy(head(code), labels[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
        seconds.append(time.perf_counter() - started)
    timed = seconds[1:]
    median = statistics.median(timed)
    print(f"threads {threads} fused Adam {fused}: median {median:.3f} s/epoch, fastest {min(timed):.3f}")


print("torch", torch.__version__)
for n_threads in (1, 2):
    for is_fused in (False, True):
        measure(n_threads, is_fused)
