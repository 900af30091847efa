"""networks.py - the networks that exports.py writes: modules of PyTorch with pruned random weights.

make(NAME) returns the module and its inputs. Language models are those of
transformers, cut down to four layers; the others are written here with PyTorch's own layers.
"""
import collections

import torch
from torch import nn
from torch.nn import functional as F

CLASSES = 1000
SEED = 1

# ---- convolutional networks ----


def normed(c, m, kernel, stride=1, groups=1):
    """A convolution and its BatchNormalization."""
    return nn.Sequential(nn.Conv2d(c, m, kernel, stride, kernel // 2, groups=groups, bias=False),
                         nn.BatchNorm2d(m))


class Basic(nn.Module):
    """ResNet's basic block."""

    def __init__(self, c, m, stride):
        super().__init__()
        self.first, self.second = normed(c, m, 3, stride), normed(m, m, 3)
        self.shortcut = nn.Identity() if stride == 1 and c == m else normed(c, m, 1, stride)

    def forward(self, x):
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(*normed(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        widths = (64, 64, 128, 256, 512)
        self.blocks = nn.Sequential(*(
            Basic(c if i == 0 else m, m, 2 if i == 0 and m > 64 else 1)
            for c, m in zip(widths, widths[1:]) for i in range(2)))
        self.head = nn.Linear(512, CLASSES)

    def forward(self, x):
        return self.head(torch.flatten(F.adaptive_avg_pool2d(self.blocks(self.stem(x)), 1), 1))


class SqueezeExcite(nn.Module):
    """Channels are weighed by a gate that two small layers make of their means."""

    def __init__(self, channels, squeezed):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x):
        gate = self.excite(F.silu(self.squeeze(F.adaptive_avg_pool2d(x, 1))))
        return x * torch.sigmoid(gate)


class InvertedResidual(nn.Module):
    """EfficientNet's block: expansion, depthwise convolution, gate, projection."""

    def __init__(self, c, m, stride, expansion):
        super().__init__()
        inner = c * expansion
        wide = [*normed(c, inner, 1), nn.SiLU()] if expansion > 1 else []
        self.layers = nn.Sequential(
            *wide, *normed(inner, inner, 3, stride, inner), nn.SiLU(),
            SqueezeExcite(inner, max(8, c // 4)), *normed(inner, m, 1))
        self.has_shortcut = stride == 1 and c == m

    def forward(self, x):
        return x + self.layers(x) if self.has_shortcut else self.layers(x)


class EfficientNet(nn.Module):
    """The stages of EfficientNet-B0, with depthwise kernels of 3x3."""

    STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 40, 2, 2), (6, 80, 3, 2), (6, 112, 3, 1),
              (6, 192, 4, 2), (6, 320, 1, 1))  # expansion, channels, blocks, stride

    def __init__(self):
        super().__init__()
        layers, c = [*normed(3, 32, 3, 2), nn.SiLU()], 32
        for expansion, m, depth, stride in self.STAGES:
            for i in range(depth):
                layers.append(InvertedResidual(c, m, 1 if i else stride, expansion))
                c = m
        self.features = nn.Sequential(*layers, *normed(c, 1280, 1), nn.SiLU())
        self.head = nn.Linear(1280, CLASSES)

    def forward(self, x):
        return self.head(torch.flatten(F.adaptive_avg_pool2d(self.features(x), 1), 1))


class ConvNeXtBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand, self.project = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.project(F.gelu(self.expand(y)))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Two stages of three blocks."""

    def __init__(self, widths=(96, 192), depth=3):
        super().__init__()
        layers = [nn.Conv2d(3, widths[0], 4, 4)]
        for i, width in enumerate(widths):
            if i:
                layers.append(nn.Conv2d(widths[i - 1], width, 2, 2))
            layers += [ConvNeXtBlock(width) for _ in range(depth)]
        self.features, self.head = nn.Sequential(*layers), nn.Linear(widths[-1], CLASSES)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


class UNet(nn.Module):
    """Three levels; a class for each pixel."""

    def __init__(self, width=64, classes=21):
        super().__init__()
        a, b, c = width, 2 * width, 4 * width

        def double(c, m):
            return nn.Sequential(*normed(c, m, 3), nn.ReLU(), *normed(m, m, 3), nn.ReLU())

        self.down1, self.down2, self.bottom = double(3, a), double(a, b), double(b, c)
        self.up2, self.join2 = nn.ConvTranspose2d(c, b, 2, 2), double(c, b)
        self.up1, self.join1 = nn.ConvTranspose2d(b, a, 2, 2), double(b, a)
        self.head = nn.Conv2d(a, classes, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        y = self.up2(self.bottom(F.max_pool2d(b, 2)))
        y = self.up1(self.join2(torch.cat([y, b], 1)))
        return self.head(self.join1(torch.cat([y, a], 1)))


# ---- transformers, recurrent networks ----


class VisionTransformer(nn.Module):
    """Patches of 16x16, PyTorch's encoder, the mean over the tokens."""

    def __init__(self, width=384, layers=4, heads=6, patches=196):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 16, 16)
        self.positions = nn.Parameter(0.02 * torch.randn(1, patches, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True,
                                           norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        for p in self.encoder.parameters():  # which are copies of one layer's
            if p.dim() > 1:
                nn.init.xavier_uniform_(p)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.encoder(tokens).mean(1))


class Recurrent(nn.Module):
    """Embedding, two LSTM in both directions, the mean over the tokens."""

    def __init__(self, vocabulary=5000, embedding=256, width=512):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.recurrent = nn.LSTM(embedding, width, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, CLASSES)

    def forward(self, ids):
        return self.head(self.recurrent(self.embedding(ids))[0].mean(1))


class Language(nn.Module):
    """The last hidden states of a model of transformers; the mask of keys is optional."""

    def __init__(self, kind, config, **options):
        import transformers
        super().__init__()
        self.model = getattr(transformers, kind)(getattr(transformers, config)(**options))

    def forward(self, ids, mask=None):
        masks = {} if mask is None else {"attention_mask": mask}
        return self.model(input_ids=ids, **masks)[0]


SHAPE = {"vocab_size": 1000, "hidden_size": 768, "num_hidden_layers": 4, "num_attention_heads": 12,
         "intermediate_size": 3072, "max_position_embeddings": 512}


def bert():
    network = Language("BertModel", "BertConfig", **SHAPE, hidden_dropout_prob=0.0,
                       attention_probs_dropout_prob=0.0)
    network.model.pooler = None  # nothing reads what it makes
    return network


def gpt2():
    return Language("GPT2Model", "GPT2Config", vocab_size=1000, n_embd=768, n_layer=4, n_head=12,
                    resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False)


def llama():
    return Language("LlamaModel", "LlamaConfig", **SHAPE, num_key_value_heads=12, use_cache=False)


# ---- the table ----


def images(batch, size=224):
    return lambda: (torch.rand(batch, 3, size, size) * 2 - 1,)


def tokens(batch, length, vocabulary=1000, mask=False):
    return lambda: (torch.randint(vocabulary, (batch, length)),
                    *[torch.ones(batch, length, dtype=torch.long)] * mask)


Network = collections.namedtuple("Network", "make inputs sparsity")
NETWORKS = {
    "bert": Network(bert, tokens(8, 128), 0.90),
    "bertmask": Network(bert, tokens(8, 128, mask=True), 0.90),
    "gpt2": Network(gpt2, tokens(8, 128), 0.90),
    "llama": Network(llama, tokens(8, 128), 0.90),
    "r18": Network(ResNet18, images(16), 0.95),
    "eff": Network(EfficientNet, images(16), 0.90),
    "vit": Network(VisionTransformer, images(16), 0.90),
    "convnext": Network(ConvNeXt, images(8), 0.90),
    "unet": Network(UNet, images(4, 128), 0.90),
    "lstm": Network(Recurrent, tokens(32, 100, 5000), 0.90),
}


def pruned_weights(module):
    """Matrices and filters with at least 16 inputs an output. What is left dense: embeddings,
    depthwise convolutions, and windows that overlap on the channels of the image itself."""
    for layer in module.modules():
        kind = type(layer).__name__
        if not isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.LSTM,
                                  nn.MultiheadAttention)) and kind != "Conv1D":
            continue
        if kind == "Conv2d" and layer.in_channels == 3 and layer.stride < layer.kernel_size:
            continue
        for p in layer.parameters(recurse=False):
            if p.dim() > 1 and p[0].numel() >= 16:
                yield p


def prune(module, sparsity):
    """The smallest weights of each tensor become zero."""
    for p in pruned_weights(module):
        limit = p.detach().abs().flatten().kthvalue(int(p.numel() * sparsity)).values
        p.data[p.abs() <= limit] = 0


def tell_apart(module):
    """No two vectors are alike, as in a trained network: exporters write equal ones once, as one
    weight of several layers."""
    for p in module.parameters():
        if p.dim() == 1:
            p.data += 0.02 * torch.randn(p.shape)


def take_statistics(module, inputs):
    """Running statistics are those of one batch: values keep their size from layer to layer where
    an exporter folds BatchNormalization into convolutions, as those of a trained network do."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            module(*inputs)
    for norm in norms:
        norm.eval()
        norm.momentum = 0.1


def make(name):
    """The pruned module, in evaluation form, and its inputs: the same ones at each call."""
    torch.manual_seed(SEED)
    network = NETWORKS[name]
    module, inputs = network.make().eval(), network.inputs()
    prune(module, network.sparsity)
    tell_apart(module)
    take_statistics(module, inputs)
    return module, inputs
