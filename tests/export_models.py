"""The networks of exports.py beside those of parity_models.py: functions that return a module with
random weights, its inputs and a target. Their layers are those of the networks that they are named
after; their widths are small.
"""
import math

import torch
from torch import nn

from parity_models import ARCHITECTURES, CLASSES, images


class Bottleneck(nn.Module):
    def __init__(self, c, m, stride, dilation):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, m // 4, 1, bias=False), nn.BatchNorm2d(m // 4)
        self.conv2 = nn.Conv2d(m // 4, m // 4, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(m // 4)
        self.conv3, self.bn3 = nn.Conv2d(m // 4, m, 1, bias=False), nn.BatchNorm2d(m)
        self.relu = nn.ReLU()
        self.downsample = nn.Sequential(nn.Conv2d(c, m, 1, stride, bias=False), nn.BatchNorm2d(m))

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        return self.relu(y + self.downsample(x))


def conv_bn(c, m, k, **options):
    return nn.Sequential(nn.Conv2d(c, m, k, bias=False, **options), nn.BatchNorm2d(m), nn.ReLU())


class DeepLab(nn.Module):
    """DeepLabV3: a residual backbone with dilations, a pyramid of them with pooling, Resize."""

    def __init__(self, a=16):
        super().__init__()
        self.stem = conv_bn(3, a, 3, stride=2, padding=1)
        self.layers = nn.Sequential(Bottleneck(a, 2 * a, 2, 1), Bottleneck(2 * a, 4 * a, 1, 2))
        self.branches = nn.ModuleList([conv_bn(4 * a, a, 1)] + [
            conv_bn(4 * a, a, 3, padding=d, dilation=d) for d in (2, 4, 6)])
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), *conv_bn(4 * a, a, 1))
        self.project = nn.Sequential(*conv_bn(5 * a, a, 1), nn.Dropout(0.5))
        self.head = nn.Sequential(*conv_bn(a, a, 3, padding=1), nn.Conv2d(a, CLASSES, 1))

    def forward(self, x):
        y = self.layers(self.stem(x))
        parts = [b(y) for b in self.branches]
        resize = nn.functional.interpolate
        parts.append(resize(self.pool(y), y.shape[2:], mode="bilinear", align_corners=False))
        y = self.head(self.project(torch.cat(parts, 1)))
        return resize(y, x.shape[2:], mode="bilinear", align_corners=False)


def deeplab(size=32, batch=2):
    return (DeepLab(), (torch.randn(batch, 3, size, size),),
            torch.randint(CLASSES, (batch, size, size)))


class Transform(nn.Module):
    """PointNet's T-net: a matrix for each cloud, the identity and what points say."""

    def __init__(self, k, width=32):
        super().__init__()
        self.k = k
        self.conv1, self.conv2 = nn.Conv1d(k, width, 1), nn.Conv1d(width, 2 * width, 1)
        self.fc1, self.fc2 = nn.Linear(2 * width, width), nn.Linear(width, k * k)
        self.bn1, self.bn2 = nn.BatchNorm1d(width), nn.BatchNorm1d(2 * width)
        self.bn3 = nn.BatchNorm1d(width)

    def forward(self, x):
        y = torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))
        y = self.fc2(torch.relu(self.bn3(self.fc1(y.max(2)[0]))))
        return (y + torch.eye(self.k).flatten()).view(-1, self.k, self.k)


class PointNet(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.points, self.features = Transform(3), Transform(width)
        self.conv1, self.bn1 = nn.Conv1d(3, width, 1), nn.BatchNorm1d(width)
        self.conv2, self.bn2 = nn.Conv1d(width, 2 * width, 1), nn.BatchNorm1d(2 * width)
        self.fc1, self.bn3 = nn.Linear(2 * width, width), nn.BatchNorm1d(width)
        self.drop, self.fc2 = nn.Dropout(0.3), nn.Linear(width, CLASSES)

    def forward(self, x):
        x = torch.bmm(x.transpose(2, 1), self.points(x)).transpose(2, 1)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.bmm(x.transpose(2, 1), self.features(x)).transpose(2, 1)
        x = self.bn2(self.conv2(x)).max(2)[0]
        x = self.fc2(self.drop(torch.relu(self.bn3(self.fc1(x)))))
        return torch.log_softmax(x, 1)


def pointnet(batch=8, points=24):
    return PointNet(), (torch.randn(batch, 3, points),), torch.randint(CLASSES, (batch,))


class Temporal(nn.Module):
    """A block of a temporal convolutional network: causal, dilated, with weight normalisation."""

    def __init__(self, c, m, k, dilation):
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.cut = (k - 1) * dilation
        self.conv1 = norm(nn.Conv1d(c, m, k, padding=self.cut, dilation=dilation))
        self.conv2 = norm(nn.Conv1d(m, m, k, padding=self.cut, dilation=dilation))
        self.drop = nn.Dropout(0.2)
        self.down = nn.Conv1d(c, m, 1) if c != m else None

    def forward(self, x):
        y = self.drop(torch.relu(self.conv1(x)[:, :, :-self.cut]))
        y = self.drop(torch.relu(self.conv2(y)[:, :, :-self.cut]))
        return torch.relu(y + (x if self.down is None else self.down(x)))


class Tcn(nn.Module):
    def __init__(self, channels=4, width=24):
        super().__init__()
        self.blocks = nn.Sequential(*(Temporal(width if i else channels, width, 3, 2 ** i)
                                      for i in range(3)))
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x):
        return self.head(self.blocks(x)[:, :, -1])


def tcn(batch=8, length=20):
    return Tcn(), (torch.randn(batch, 4, length),), torch.randint(CLASSES, (batch,))


def timestep_embedding(t, width):
    """As diffusion models have it: sines and cosines of falling frequencies."""
    frequency = torch.exp(-math.log(10000) * torch.arange(width // 2).float() / (width // 2))
    angle = t[:, None].float() * frequency[None]
    return torch.cat([angle.cos(), angle.sin()], 1)


class DiffusionResidual(nn.Module):
    def __init__(self, c, m, time):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, c), nn.Conv2d(c, m, 3, padding=1)
        self.time = nn.Linear(time, m)
        self.norm2, self.conv2 = nn.GroupNorm(8, m), nn.Conv2d(m, m, 3, padding=1)
        self.skip = nn.Conv2d(c, m, 1) if c != m else nn.Identity()
        self.act = nn.SiLU()

    def forward(self, x, t):
        y = self.conv1(self.act(self.norm1(x))) + self.time(self.act(t))[:, :, None, None]
        return self.conv2(self.act(self.norm2(y))) + self.skip(x)


class DiffusionAttention(nn.Module):
    def __init__(self, c, heads=4):
        super().__init__()
        self.norm, self.heads = nn.GroupNorm(8, c), heads
        self.qkv, self.out = nn.Linear(c, 3 * c), nn.Linear(c, c)

    def forward(self, x):
        n, c, h, w = x.shape
        y = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(y).view(n, h * w, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        y = self.out(y.transpose(1, 2).reshape(n, h * w, c))
        return x + y.transpose(1, 2).reshape(n, c, h, w)


class Diffusion(nn.Module):
    """The middle of a denoising U-Net with its time embedding."""

    def __init__(self, width=32):
        super().__init__()
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, 64), nn.SiLU(), nn.Linear(64, 64))
        self.enter = nn.Conv2d(3, width, 3, padding=1)
        self.residual1 = DiffusionResidual(width, 2 * width, 64)
        self.attention = DiffusionAttention(2 * width)
        self.residual2 = DiffusionResidual(2 * width, 2 * width, 64)
        self.norm, self.leave = nn.GroupNorm(8, 2 * width), nn.Conv2d(2 * width, 3, 3, padding=1)

    def forward(self, x, t):
        time = self.time(timestep_embedding(t, self.width).to(self.enter.weight.dtype))
        y = self.residual1(self.enter(x), time)
        y = self.residual2(self.attention(y), time)
        return self.leave(nn.functional.silu(self.norm(y)))


def diffusion(batch=2, size=8):
    """Early time steps: the frequencies in the file are an ulp away from PyTorch's, and angles are
    that times the step."""
    return (Diffusion(), (torch.randn(batch, 3, size, size), torch.randint(100, (batch,))),
            torch.randn(batch, 3, size, size))


class Logits(nn.Module):
    """Of a language model, classes second, as PyTorch's cross entropy wants them."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, ids):
        return self.body(input_ids=ids, use_cache=False).logits.transpose(1, 2)


def llama(batch=2, length=12, vocabulary=100):
    import transformers
    config = transformers.LlamaConfig(
        vocab_size=vocabulary, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=32)
    return (Logits(transformers.LlamaForCausalLM(config)),
            (torch.randint(3, vocabulary, (batch, length)),),
            torch.randint(vocabulary, (batch, length)))


class Last(nn.Module):
    def __init__(self, body, *names):
        super().__init__()
        self.body, self.names = body, names

    def forward(self, *inputs):
        return self.body(**dict(zip(self.names, inputs))).last_hidden_state


def whisper(batch=2, frames=40):
    import transformers
    from transformers.models.whisper.modeling_whisper import WhisperEncoder
    config = transformers.WhisperConfig(
        d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=64,
        num_mel_bins=16, max_source_positions=frames // 2)
    return (Last(WhisperEncoder(config), "input_features"), (torch.randn(batch, 16, frames),),
            torch.randn(batch, frames // 2, 32))


class Clip(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, ids, pixels):
        return self.body(input_ids=ids, pixel_values=pixels).logits_per_image


def clip(batch=4, length=10):
    import transformers
    config = transformers.CLIPConfig(
        text_config={"vocab_size": 100, "hidden_size": 32, "intermediate_size": 64,
                     "num_hidden_layers": 2, "num_attention_heads": 4, "eos_token_id": 2,
                     "max_position_embeddings": 16},
        vision_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                       "num_attention_heads": 4, "image_size": 32, "patch_size": 8},
        projection_dim=24)
    return (Clip(transformers.CLIPModel(config)),
            (torch.randint(3, 100, (batch, length)), torch.randn(batch, 3, 32, 32)),
            torch.randint(batch, (batch,)))


NETWORKS = {
    **{name: ARCHITECTURES[name] for name in ("LSTM", "GRU", "U-Net", "BERT", "GPT-2")},
    "DeepLab": deeplab, "PointNet": pointnet, "TCN": tcn, "Diffusion": diffusion, "Llama": llama,
    "Whisper": whisper, "CLIP": clip,
}
