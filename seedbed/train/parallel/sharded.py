"""A model spread over a mesh: built on the meta device, cut, wrapped, and only then given memory and weights.

whole model (meta) -> this stage's layers (pp) -> experts (ep) -> heads and channels (tp) -> positions (cp)
                   -> compile -> FSDP2 (fsdp, dp) -> memory -> weights drawn as one device draws them
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.experimental import implicit_replication

from seedbed.model.config import TransformerConfig
from seedbed.model.transformer import Transformer
from seedbed.recipe.layout import Layout, check_parts, split_layers
from seedbed.train.batch import Batch
from seedbed.train.parallel.context import cut_rows, positions_of
from seedbed.train.parallel.experts import cut_experts, expert_stacks
from seedbed.train.parallel.mesh import Mesh
from seedbed.train.parallel.pipeline import Pipeline
from seedbed.train.parallel.stage import Stage, keep_stage
from seedbed.train.parallel.tables import Table, make_dense, share_touched
from seedbed.train.parallel.tensor import cut_by_heads_and_channels
from seedbed.train.recompute import Recompute, recompute_layers

Inputs = dict[str, Tensor | None]  # of a stage, by name
Tell = Callable[[Tensor | None, Tensor, Tensor], None]  # sources [B], targets [B, S], sums of the rows' losses [B]
TIED = "embedding.weight"  # held by the first and the last stage where it is the head as well


class Sharded:
    def __init__(
        self,
        config: TransformerConfig,
        layout: Layout,
        device: str,
        bfloat16: bool,
        compile: bool = False,
        recompute: Recompute = "none",
        loss_chunk_tokens: int = 0,
        seed: int | None = None,
    ) -> None:
        """Without a `seed` the weights stay on the meta device, to be counted."""
        check_parts(layout, config)
        self.config, self.layout, self.device, self.bfloat16 = config, layout, device, bfloat16
        self.mesh = mesh = Mesh(layout, torch.device(device).type, ends=config.tied_head and layout.pp > 1)
        with torch.device("meta"):
            self.model = model = Transformer(config)
        model.loss_chunk_tokens = loss_chunk_tokens
        make_dense(model)
        self.shared_by_stages = keep_stage(model, split_layers(config.layers, layout.pp)[mesh.rank("pp")])
        self.spread_experts = cut_experts(model, mesh["ep"]) if layout.ep > 1 else []
        self.partial_in_tp = cut_by_heads_and_channels(model, mesh["tp"]) if layout.tp > 1 else []
        positions = positions_of(mesh.rank("cp"), layout.cp, config.context).to(device) if layout.cp > 1 else None
        if layout.cp > 1:
            cut_rows(model, mesh.group("cp"))
        self.positions_S = positions
        self.stage = Stage(model, positions)
        recompute_layers([model.layers[i] for i in model.present], recompute)
        if compile:
            for i in model.present:
                model.layers[i].compile(dynamic=False)
        if layout.fsdp > 1:
            self.shard_weights()
        self.pipeline = Pipeline(self.stage, mesh, config, device) if layout.pp > 1 else None
        if seed is not None:
            self.stage.to_empty(device=device)
            if model.embedding is not None and model.head is not None:
                model.tie_head()
            self.init_weights(seed)

    def shard_weights(self) -> None:
        """FSDP2: each layer and each table is gathered when it is used; what is left belongs to the root."""
        mesh, model = self.mesh.weights_mesh(), self.model
        # matrix products run in bfloat16 under autocast either way: gathering layers in it halves what is sent
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
        keep = MixedPrecisionPolicy(cast_forward_inputs=False)
        if self.spread_experts:
            for stack in expert_stacks(model).values():
                fully_shard(
                    stack, mesh=self.mesh.weights_mesh(experts=True), mp_policy=policy if self.bfloat16 else keep
                )
        for i in model.present:
            fully_shard(model.layers[i], mesh=mesh, mp_policy=policy if self.bfloat16 else keep)
        # tables that tensor parallelism has cut already give views, which FSDP's hooks warn of: the root holds those
        for table in [m for m in model.modules() if isinstance(m, Table) and self.layout.tp == 1]:
            fully_shard(table, mesh=mesh, mp_policy=keep)
        fully_shard(self.stage, mesh=mesh, mp_policy=keep)
        for module in self.stage.modules():
            if isinstance(module, FSDPModule):
                # losses are divided by the targets of the global batch, so gradients are summed, never averaged
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)

    def init_weights(self, seed: int) -> None:
        """The weights that one device would draw, of which each rank keeps its part."""
        with torch.device("meta"):
            whole = Transformer(self.config)
        graft(whole, self.model)
        with implicit_replication():
            whole.init_weights(seed)
        self.model.set_rope_tables(self.config.context)

    def autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(torch.device(self.device).type, torch.bfloat16) if self.bfloat16 else nullcontext()

    def inputs(self, batch: Batch) -> Inputs:
        """Of some rows, what the stage is called with."""
        batch = batch.to(self.device)
        cut = self.positions_S
        targets, prior = batch.targets_BT, batch.prior_BTP
        if cut is not None:
            targets, prior = targets[:, cut], None if prior is None else prior[:, cut]
        return {
            "tokens_BT": batch.inputs_BT,
            "targets_BS": targets,
            "prior_BSP": prior,
            "documents_BT": batch.documents_BT,
        }

    def backward(self, batches: Iterator[Batch], scale: float, tell: Tell) -> Tensor:
        """Gradients of this rank's rows, times `scale`; the sums [2] of its mixed and own losses, times `scale`.

        `tell` gets what is known of the rows of each micro-batch; of a pipeline's stages the last one's alone knows losses.
        """
        totals = torch.zeros(2, device=self.device)
        with self.autocast():
            for batch, inputs, losses_B2 in self.worked(batches, scale):
                tell(batch.sources_B, inputs["targets_BS"], losses_B2[:, 0])  # type: ignore[arg-type]
                totals += losses_B2.sum(dim=0) * scale
        return totals

    def worked(self, batches: Iterator[Batch], scale: float) -> Iterator[tuple[Batch, Inputs, Tensor]]:
        """Micro-batches whose gradients were added, with their rows' losses [B, 2]; none where there are no losses."""
        if self.pipeline is None:
            for batch in batches:
                inputs = self.inputs(batch)
                losses_B2 = self.stage(**inputs)
                weighted(losses_B2, batch, scale).backward()
                yield batch, inputs, losses_B2.detach()
            return
        held = [(batch, self.inputs(batch)) for batch in batches]
        losses_R2 = self.pipeline.backward([inputs for _, inputs in held], scale)
        if self.stage.last:
            parts = losses_R2.chunk(len(held))
            yield from ((*both, losses_B2) for both, losses_B2 in zip(held, parts, strict=True))

    def sum_losses(self, sums: Tensor) -> Tensor:
        """Over the ranks that hold other tokens, and from the last stage to all."""
        dist.all_reduce(sums, group=self.mesh.group("data"))
        if self.layout.pp > 1:
            dist.all_reduce(sums, group=self.mesh.group("pp"))
        return sums

    def sum_over_rows(self, counts: Tensor) -> Tensor:
        """Counts of tokens, of this rank's, made those of the global batch."""
        dist.all_reduce(counts, group=self.mesh.group("data"))
        return counts

    def loads(self) -> dict[int, Tensor]:
        """By layer of the whole model the choices of each expert [E], from the stages that hold the layers."""
        if self.config.experts is None:
            return {}
        shape = self.config.layers, self.config.experts.num_experts
        loads_LE = torch.zeros(shape, dtype=torch.int64, device=self.device)
        for layer, router in self.model.routers().items():
            loads_LE[layer] = router.load_E
        if self.layout.pp > 1:
            dist.all_reduce(loads_LE, group=self.mesh.group("pp"))
        return {layer: loads_LE[layer] for layer in self.config.expert_layers}

    @torch.no_grad()
    def sum_gradients(self) -> None:
        """What FSDP has not summed already: copies, parts found by other heads, and what several stages hold."""
        named = dict(self.model.named_parameters())
        for parameter in named.values():
            settle(parameter)
        if self.layout.fsdp == 1:
            spread = set(self.spread_experts)
            sum_flat([local(p.grad) for name, p in named.items() if name not in spread], self.mesh.group("data"))
            if spread:
                sum_flat([local(named[name].grad) for name in self.spread_experts], self.mesh.group("expert_data"))
        if self.partial_in_tp:
            sum_flat([local(named[name].grad) for name in self.partial_in_tp], self.mesh.group("tp"))
        if self.layout.pp > 1 and self.shared_by_stages:
            sum_flat([local(named[name].grad) for name in self.shared_by_stages], self.mesh.group("pp"))
        if self.layout.pp > 1 and self.config.tied_head and TIED in named:
            dist.all_reduce(local(named[TIED].grad), group=self.mesh.group("ends"))
        share_touched(self.model, self.mesh.group("data"))

    @torch.no_grad()
    def gradient_norm(self) -> Tensor:
        """The norm of the whole model's gradient, the same on every rank."""
        squares = torch.zeros((), device=self.device)
        for name, parameter in self.model.named_parameters():
            gradient = local(parameter.grad).float()
            squares += gradient.square().sum() / self.holders(name, parameter)
        dist.all_reduce(squares)
        return squares.sqrt()

    def holders(self, name: str, parameter: Tensor) -> int:
        """How many ranks hold the same part of a parameter."""
        ranks = self.layout.devices
        if isinstance(parameter, DTensor):
            for size, placement in zip(parameter.device_mesh.shape, parameter.placements, strict=True):
                ranks //= 1 if placement.is_replicate() else size
        if name in self.shared_by_stages:
            return ranks
        stages = 2 if name == TIED and self.config.tied_head and self.layout.pp > 1 else 1
        return ranks * stages // self.layout.pp


def local(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def settle(parameter: Tensor) -> None:
    """Lay a gradient out like its parameter: what products leave as parts of a sum is added."""
    gradient = parameter.grad
    if isinstance(gradient, DTensor) and isinstance(parameter, DTensor) and gradient.placements != parameter.placements:
        parameter.grad = gradient.redistribute(parameter.device_mesh, parameter.placements)


def weighted(losses_B2: Tensor, batch: Batch, scale: float) -> Tensor:
    """What is minimised. With an expert the transformer also answers for itself (see engine.py)."""
    return (losses_B2.sum() if batch.prior_BTP is not None else losses_B2[:, 0].sum()) * scale


def sum_flat(gradients: list[Tensor], group: dist.ProcessGroup) -> None:
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat, group=group)
    for gradient, summed in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(summed.view_as(gradient))


def graft(whole: nn.Module, part: nn.Module) -> None:
    """Put what is present of `part` in the place of the same in `whole`, parameter by parameter."""
    for name, child in part.named_children():
        if not isinstance(child, nn.Identity):
            graft(whole.get_submodule(name), child)
    for name, parameter in part.named_parameters(recurse=False):
        whole.register_parameter(name, parameter)
    for name, buffer in part.named_buffers(recurse=False):
        whole._buffers[name] = buffer
