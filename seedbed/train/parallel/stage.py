"""One device's part of the layers, from tokens or from the stage before it to losses or to the stage after it.

With pp=1 the only stage is the whole model. Every stage reads the batch itself, so that only x, and x0 where layers ask for it,
travel: value embeddings are looked up where they are added.
"""

import torch
from torch import Tensor, nn

from seedbed.model.transformer import Transformer


def keep_stage(model: Transformer, layers: range) -> list[str]:
    """Take from `model` what this stage does not use. Gives the names of parameters that every other stage holds as well."""
    config = model.config
    first, last = layers.start == 0, layers.stop == config.layers
    shared = ["residual_scale", "input_scale"] if config.residual_scalars else []
    for i in range(config.layers):
        if i not in layers:
            model.layers[i] = nn.Identity()
            if i in config.value_layers:
                del model.value_embeddings[str(i)]
    model.present = layers
    if not first and not (last and config.tied_head):  # the table that the first stage looks up is the head of the last
        leave_out(model, "embedding")
    if not first:
        model.ngram_embeddings = nn.ModuleDict()
        leave_out(model, "position_embedding", "segment_embedding", "embedding_norm")
    if not last:
        leave_out(model, "final_norm", "head_transform", "head", "prior_gate")
    return shared


def leave_out(model: Transformer, *names: str) -> None:
    for name in names:
        if name in model._modules:
            model._modules[name] = None


class Stage(nn.Module):
    def __init__(self, model: Transformer, positions_S: Tensor | None) -> None:
        """`positions_S`: of each row, the positions this device works on; None: all."""
        super().__init__()
        self.model = model
        self.positions_S = positions_S
        self.first, self.last = model.present.start == 0, model.present.stop == model.config.layers

    def forward(
        self,
        *received: Tensor,
        tokens_BT: Tensor,
        targets_BS: Tensor,
        prior_BSP: Tensor | None = None,
        documents_BT: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """x [B, S, D] (and x0 [B, S, D] where layers use it); from the last stage each row's losses [B, 2], mixed and own."""
        model, config = self.model, self.model.config
        if self.first:
            x_BSD, values = model.embed(tokens_BT, positions_S=self.positions_S)
            x_BSD = model.enter(x_BSD)
            x0_BSD = x_BSD
        else:
            x_BSD, x0_BSD = received if config.residual_scalars else (received[0], received[0])
            here_BS = tokens_BT if self.positions_S is None else tokens_BT[:, self.positions_S]
            values = [table(here_BS) for table in model.value_embeddings.values()]
        by_layer = dict(zip(map(int, model.value_embeddings), values, strict=True))
        x_BSD = model.run_layers(x_BSD, x0_BSD, by_layer, documents_BT=documents_BT, positions_T=self.positions_S)
        if not self.last:
            return (x_BSD, x0_BSD) if config.residual_scalars else x_BSD
        mixed_BS, own_BS = model.mixed_losses(model.leave(x_BSD), targets_BS, prior_BSP)
        return torch.stack((mixed_BS.sum(dim=1), own_BS.sum(dim=1)), dim=1)
