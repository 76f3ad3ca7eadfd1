"""The reference expert that published figures are about; its weights are random.

25.5 M parameters: width 512, 6 layers of self-attention, cross-attention and MLP, 8 heads, a chunk
of 50 x 32, a prefix of 256, batch 1.
"""

from __future__ import annotations

from torch import Tensor, nn

from salus_ros.policy.flow.guidance import Held
from salus_ros.policy.flow.network import Mlp, split_heads
from salus_ros.policy.fused.layers import attend, norm_of, project

STEPS = 10


class ReferenceLayer(nn.Module):
    """Self-attention, cross-attention to fixed keys and values, MLP; all pre-norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.query, self.cross_out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, x: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """x [batch, tokens, width]; key, value [batch, heads, prefix, width / heads]."""
        qkv = project(self.qkv, x, norm_of(self.norms[0]))
        q, k, v = (split_heads(part, self.heads) for part in qkv.chunk(3, -1))
        x = project(self.out, attend(q, k, v), residual=x)
        query = split_heads(project(self.query, x, norm_of(self.norms[1])), self.heads)
        x = project(self.cross_out, attend(query, key, value), residual=x)
        return self.mlp(x, norm=norm_of(self.norms[2]), residual=x)


class ReferenceExpert(nn.Module):
    """The reference: actions [batch, 50, 32] in, velocities out."""

    rows, dims, width, heads, depth, prefix = 50, 32, 512, 8, 6, 256

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(self.dims, self.width), nn.Linear(self.width, self.dims)
        layers = [ReferenceLayer(self.width, self.heads) for _ in range(self.depth)]
        self.layers = nn.ModuleList(layers)
        self.time = nn.Embedding(STEPS, self.width)

    def held(self, prefix: Tensor) -> Held:
        """Keys and values of each layer, of a prefix [1, 256, width]."""
        pairs = [layer.key_value(prefix).chunk(2, -1) for layer in self.layers]
        return tuple(split_heads(part, self.heads) for pair in pairs for part in pair)

    def velocity(self, x: Tensor, i: int, held: Held) -> Tensor:
        """Of the flow at step i."""
        hidden = project(self.enter, x, residual=self.time.weight[i])
        for n, layer in enumerate(self.layers):
            hidden = layer(hidden, held[2 * n], held[2 * n + 1])
        return project(self.leave, hidden)
