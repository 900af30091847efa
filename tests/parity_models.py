"""The architectures of parity.py: functions that return a module, its inputs and a target.

Convolutional networks have their own widths and small images; transformers two layers of 64.
"""
import torch
from torch import nn

CLASSES = 10


def images(module, size=64, batch=4):
    return (module, (torch.randn(batch, 3, size, size),), torch.randint(CLASSES, (batch,)))


def vision(name, size=64, **options):
    def make():
        import torchvision
        return images(torchvision.models.get_model(name, num_classes=CLASSES, **options), size)
    return make


def vgg():
    """With a small classifier: the true one has 123 million weights."""
    import torchvision
    module = torchvision.models.vgg11()
    module.avgpool = nn.AdaptiveAvgPool2d(1)
    module.classifier = nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Dropout(),
                                      nn.Linear(256, CLASSES))
    return images(module)


class MobileNetV1(nn.Module):
    def __init__(self, first=32, layers=((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
                                         *((512, 1),) * 5, (1024, 2), (1024, 1))):
        super().__init__()

        def conv(c, m, k, stride, groups=1):
            return nn.Sequential(nn.Conv2d(c, m, k, stride, k // 2, groups=groups, bias=False),
                                 nn.BatchNorm2d(m), nn.ReLU())
        features, c = [conv(3, first, 3, 2)], first
        for m, stride in layers:
            features += [conv(c, c, 3, stride, c), conv(c, m, 1, 1)]
            c = m
        self.features = nn.Sequential(*features)
        self.classifier = nn.Linear(c, CLASSES)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def convnext(blocks=((24, 48, 2), (48, 96, 2), (96, None, 3)), **shape):
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt
    module = ConvNeXt([CNBlockConfig(*b) for b in blocks], layer_scale=0.5, num_classes=CLASSES)
    return images(module, **shape)


def vit(size=64, patch=16, layers=2, width=64, batch=4):
    from torchvision.models import VisionTransformer
    module = VisionTransformer(size, patch, layers, 4, width, 2 * width, num_classes=CLASSES)
    nn.init.normal_(module.heads.head.weight, std=0.1)  # zero by default
    return images(module, size, batch)


def swin(width=32, depths=(2, 2), **shape):
    from torchvision.models import SwinTransformer
    module = SwinTransformer([4, 4], width, list(depths), [2, 4], [4, 4], stochastic_depth_prob=0.0,
                             num_classes=CLASSES)
    return images(module, **shape)


class Classifier(nn.Module):
    """A transformer's encoder, the mean over its tokens, a linear layer."""

    def __init__(self, body, width):
        super().__init__()
        self.body, self.head = body, nn.Linear(width, CLASSES)

    def forward(self, ids):
        return self.head(self.body(input_ids=ids).last_hidden_state.mean(1))


class Language(nn.Module):
    """A language model; classes come second in the logits."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, ids):
        y = self.body(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
        return y.logits.transpose(1, 2)


def tokens(module, batch=4, length=12, vocabulary=100, per_token=False):
    ids = torch.randint(3, vocabulary, (batch, length))
    target = torch.randint(vocabulary, (batch, length)) if per_token \
        else torch.randint(CLASSES, (batch,))
    return module, (ids,), target


def encoder(model, config, **options):
    def make():
        import transformers
        body = getattr(transformers, model)(getattr(transformers, config)(
            vocab_size=100, attn_implementation="eager", **options))
        return tokens(Classifier(body, body.config.hidden_size))
    return make


BERT = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 128, "max_position_embeddings": 32}


def gpt2(width=64, layers=2, **options):
    import transformers
    config = transformers.GPT2Config(vocab_size=100, n_positions=32, n_embd=width, n_layer=layers,
                                     n_head=4, attn_implementation="eager", **options)
    return tokens(Language(transformers.GPT2LMHeadModel(config)), per_token=True)


class Recurrent(nn.Module):
    """Embedding, two layers in both directions, a linear layer on the last state."""

    def __init__(self, kind, width=48):
        super().__init__()
        self.embed = nn.Embedding(100, 32)
        self.rnn = kind(32, width, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * width, CLASSES)

    def forward(self, ids):
        return self.head(self.rnn(self.embed(ids))[0].mean(1))


class UNet(nn.Module):
    """Three levels; one goes up by ConvTranspose, one by Resize."""

    def __init__(self, a=16):
        super().__init__()
        b, c = 2 * a, 4 * a

        def double(c, m):
            return nn.Sequential(nn.Conv2d(c, m, 3, padding=1, bias=False), nn.BatchNorm2d(m),
                                 nn.ReLU(), nn.Conv2d(m, m, 3, padding=1, bias=False),
                                 nn.BatchNorm2d(m), nn.ReLU())
        self.down1, self.down2, self.bottom = double(3, a), double(a, b), double(b, c)
        self.up2, self.join2 = nn.ConvTranspose2d(c, b, 2, stride=2), double(c, b)
        self.up1 = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
                                 nn.Conv2d(b, a, 1))
        self.join1, self.head = double(b, a), nn.Conv2d(a, CLASSES, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(nn.functional.max_pool2d(a, 2))
        x = self.bottom(nn.functional.max_pool2d(b, 2))
        x = self.join2(torch.cat([self.up2(x), b], 1))
        return self.head(self.join1(torch.cat([self.up1(x), a], 1)))


def unet(width=16, size=32, batch=2):
    return (UNet(width), (torch.randn(batch, 3, size, size),),
            torch.randint(CLASSES, (batch, size, size)))


class Yolo(nn.Module):
    """Cross-stage blocks with SiLU, pooling pyramid, nearest upsampling, boxes on a grid."""

    def __init__(self, a=16, anchors=3):
        super().__init__()
        b, c = 2 * a, 4 * a

        def conv(c, m, k=1, stride=1):
            return nn.Sequential(nn.Conv2d(c, m, k, stride, k // 2, bias=False), nn.BatchNorm2d(m),
                                 nn.SiLU())
        self.stem, self.left, self.right = conv(3, a, 3, 2), conv(a, a), conv(a, a)
        self.inner, self.join = conv(a, a, 3), conv(b, b)
        self.down, self.reduce, self.pyramid = conv(b, c, 3, 2), conv(c, b), conv(4 * b, c)
        self.lateral, self.merge = conv(c, b), conv(c, b, 3)
        self.pool, self.up = nn.MaxPool2d(5, 1, 2), nn.Upsample(scale_factor=2, mode="nearest")
        self.anchors, width = anchors, anchors * (5 + CLASSES)
        self.heads = nn.ModuleList([nn.Conv2d(b, width, 1), nn.Conv2d(c, width, 1)])
        self.register_buffer("sizes", torch.rand(2, 1, anchors, 1, 1, 2) + 0.5)

    def boxes(self, x, i):
        n, _, h, w = x.shape
        x = self.heads[i](x).view(n, self.anchors, 5 + CLASSES, h, w).permute(0, 1, 3, 4, 2)
        y, z = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        grid = torch.stack((z, y), 2).view(1, 1, h, w, 2)
        xy, wh, rest = x.sigmoid().split((2, 2, 1 + CLASSES), 4)
        xy = (xy * 2 - 0.5 + grid) / h
        return torch.cat((xy, (wh * 2) ** 2 * self.sizes[i], rest), 4).reshape(n, -1, 5 + CLASSES)

    def forward(self, x):
        x = self.stem(x)
        left = self.left(x)
        a = self.join(torch.cat([left + self.inner(left), self.right(x)], 1))
        p = [self.reduce(self.down(a))]
        for _ in range(3):
            p.append(self.pool(p[-1]))
        b = self.pyramid(torch.cat(p, 1))
        a = self.merge(torch.cat([self.up(self.lateral(b)), a], 1))
        return torch.cat([self.boxes(a, 0), self.boxes(b, 1)], 1)


def yolo(width=16, size=32, batch=2):
    module, x = Yolo(width), torch.randn(batch, 3, size, size)
    with torch.no_grad():
        return module, (x,), torch.rand_like(module(x))


ARCHITECTURES = {
    "ResNet-18": vision("resnet18"),
    "ResNet-50": vision("resnet50"),
    "VGG-11": vgg,
    "DenseNet-121": vision("densenet121", 96),
    "MobileNetV1": lambda: images(MobileNetV1()),
    "MobileNetV2": vision("mobilenet_v2"),
    "MobileNetV3": vision("mobilenet_v3_small"),
    "EfficientNet-B0": vision("efficientnet_b0"),
    "ConvNeXt": convnext,
    "ViT": vit,
    "Swin": swin,
    "BERT": encoder("BertModel", "BertConfig", **BERT),
    "DistilBERT": encoder("DistilBertModel", "DistilBertConfig", dim=64, n_layers=2, n_heads=4,
                          hidden_dim=128, max_position_embeddings=32),
    "RoBERTa": encoder("RobertaModel", "RobertaConfig", **BERT),
    "GPT-2": gpt2,
    "T5-encoder": encoder("T5EncoderModel", "T5Config", d_model=64, d_kv=16, d_ff=128,
                          num_layers=2, num_heads=4),
    "LSTM": lambda: tokens(Recurrent(nn.LSTM)),
    "GRU": lambda: tokens(Recurrent(nn.GRU)),
    "U-Net": unet,
    "YOLO-head": yolo,
}

def positions(embedding, length=12):
    return embedding(torch.arange(length)[None])


def of_bert(module):
    e = module.body.embeddings
    return [positions(e.position_embeddings), e.token_type_embeddings(torch.zeros(1, 12).long())]


def of_swin(module):
    return [m.get_relative_position_bias() for m in module.modules()
            if hasattr(m, "get_relative_position_bias")]


def of_t5(module):
    return [module.body.encoder.block[0].layer[0].SelfAttention.compute_bias(12, 12)]


# Parameters that exporters compute with, so that they are not in the file: parts of their names,
# and what the file may have instead.
FOLDED = {
    "ViT": (("class_token",), None),  # repeated for each sample of the batch: no weight any more
    "Swin": (("relative_position_bias_table",), of_swin),
    "BERT": (("position_embeddings", "token_type_embeddings"), of_bert),
    "DistilBERT": (("position_embeddings",),
                   lambda m: [positions(m.body.embeddings.position_embeddings)]),
    "GPT-2": (("wpe",), lambda m: [positions(m.body.transformer.wpe)]),
    "T5-encoder": (("relative_attention_bias",), of_t5),
}
