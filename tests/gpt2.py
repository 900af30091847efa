"""A GPT-2 with random weights, as PyTorch exports it, trains on token ids alone: 20 losses against
PyTorch's own. Not run by ctest; needs torch, transformers, onnxscript.
Usage: gpt2.py ONNX_TRAIN [FOLDER]"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2LMHeadModel

N, T, V, BATCH, STEPS, LR = 64, 24, 211, 8, 20, 0.1
folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
folder.mkdir(exist_ok=True)

torch.manual_seed(3)
model = GPT2LMHeadModel(GPT2Config(vocab_size=V, n_positions=32, n_embd=48, n_layer=2, n_head=4,
                                   resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, use_cache=False))
with torch.no_grad():  # equal biases and norms would be merged by the exporter
    for p in model.parameters():
        p += 0.02 * torch.randn_like(p)
model.eval()


class Logits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        return self.model(input_ids).logits


steps = np.arange(N)[:, None] * 7 + np.arange(T)[None, :] * (np.arange(N)[:, None] % 5 + 1)
ids = steps % V
ids[::4] = np.random.default_rng(1).integers(0, V, (len(ids[::4]), T))
np.savez(folder / 'ids.npz', input_ids=ids)
batch = torch.from_numpy(ids)
torch.onnx.export(Logits(), (batch[:BATCH],), folder / 'gpt2.onnx', input_names=['input_ids'],
                  output_names=['logits'], dynamo=True, external_data=False, verbose=False)

run = folder / 'run'
out = subprocess.run([sys.argv[1], 'train', folder / 'gpt2.onnx', folder / 'ids.npz', f'out={run}',
                      f'batch={BATCH}', f'max_steps={STEPS}', f'lr={LR}', 'momentum=0', 'val=0',
                      'shuffle=0', 'log_every=1', 'epochs=99'], capture_output=True, text=True)
if out.returncode:
    sys.exit(out.stderr)
print(next(line for line in out.stdout.splitlines() if line.startswith('loss ')))
records = [json.loads(line) for line in (run / 'metrics.jsonl').open()]
ours = [r['loss'] for r in records if r['event'] == 'step']

# the exporter folds position embeddings into a constant, which may count as fixed
listed = subprocess.run([sys.argv[1], 'inspect', '--json', folder / 'gpt2.onnx'],
                        capture_output=True, text=True)
weights = {tuple(w['shape']): w for w in json.loads(listed.stdout)['weights']}
positions = weights.get((1, T, 48), {})
model.transformer.wpe.weight.requires_grad = bool(positions.get('trainable'))

optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=LR)
theirs = []
for step in range(STEPS):
    at = step * BATCH % N
    x = batch[at:at + BATCH]
    loss = F.cross_entropy(model(x).logits[:, :-1].reshape(-1, V), x[:, 1:].reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    theirs.append(loss.item())

worst = max(abs(a - b) for a, b in zip(ours, theirs))
print(f'{len(ours)} losses from {ours[0]:.6f} to {ours[-1]:.6f}, '
      f'at most {worst:.1e} from those of PyTorch')
sys.exit(len(ours) != STEPS or worst > 1e-5)
