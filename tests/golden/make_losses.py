"""Prints the losses that tests/test_loss.c holds against PyTorch's, in double. Needs torch.

x is [N, C, T]: sin of 1, 2, 3, ... in that order; labels are 5 i + i / 3 mod C, every seventh one
ignored where the line says so; probabilities are the softmax of cos of 1, 2, 3, ...
"""
import torch
import torch.nn.functional as F

N, C, T = 3, 5, 4
x = torch.sin(torch.arange(1, N * C * T + 1, dtype=torch.double)).reshape(N, C, T)
x = x.float().double()  # the test's numbers are floats
label = (5 * torch.arange(N * T) % C).reshape(N, T)
label = (label + torch.arange(N * T).reshape(N, T) // 3) % C
ignored = label.clone()
ignored.view(-1)[::7] = -100
soft = torch.softmax(torch.cos(torch.arange(1, N * C * T + 1, dtype=torch.double)).reshape(N, C, T),
                     1).float().double()
yes = (torch.arange(N * C * T) % 3 == 0).double().reshape(N, C, T)
last = x.transpose(1, 2)  # [N, T, C], the same logits with classes last
mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])

shifted = label[:, 1:].clone()
masked = shifted.clone()
masked[mask[:, 1:] == 0] = -100
lines = {
    'labels': F.cross_entropy(x, label),
    'ignored': F.cross_entropy(x, ignored),
    'smoothed': F.cross_entropy(x, label, label_smoothing=0.1),
    'smoothed, ignored': F.cross_entropy(x, ignored, label_smoothing=0.1),
    'probabilities': F.cross_entropy(x, soft),
    'probabilities, smoothed': F.cross_entropy(x, soft, label_smoothing=0.1),
    'bce': F.binary_cross_entropy_with_logits(x, yes),
    'next_token': F.cross_entropy(last[:, :-1].reshape(-1, C), shifted.reshape(-1)),
    'next_token, masked': F.cross_entropy(last[:, :-1].reshape(-1, C), masked.reshape(-1)),
}
for name, loss in lines.items():
    print(f'{name}: {loss.item():.12f}')
