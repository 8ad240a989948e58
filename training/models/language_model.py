"""What all models have in common: tokens in, logits or a loss out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.models.attention import Cache, Documents
from training.models.loss import IGNORED, LossSettings, next_token_loss
from training.models.recomputation import Recomputation
from training.models.settings import ModelSettings


class OutputLayer(nn.Linear):
    """From hidden states to logits, or to the loss; under ZeRO-3 its weights are gathered for either."""

    def forward(  # type: ignore[override]
        self, hidden: Tensor, targets: Tensor | None = None, settings: LossSettings | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits [..., vocabulary], or with targets [...] the two sums of ``next_token_loss``."""
        if targets is None:
            return super().forward(hidden)
        return next_token_loss(hidden.flatten(0, -2), self.weight, targets.flatten(), settings or LossSettings())


class LanguageModel(nn.Module):
    """Base of the models; a subclass makes ``embedding``, ``head`` and its layers, and computes ``hidden``.

    Attributes:
        settings: The shape.
        loss_settings: What is minimised.
        recomputation: What of the blocks is computed again in the backward pass; recurrent layers keep all.
        limited_by_context: Whether no text can be longer than the context.
        balance_loss: Of the last forward pass: what experts add to the objective, or None.
    """

    embedding: nn.Embedding
    head: OutputLayer
    limited_by_context = True

    def __init__(
        self,
        settings: ModelSettings,
        *,
        loss: LossSettings | None = None,
        recomputation: Recomputation = "none",
    ) -> None:
        super().__init__()
        self.settings = settings
        self.loss_settings = loss or LossSettings()
        self.recomputation = recomputation
        self.balance_loss: Tensor | None = None

    def make_head(self) -> None:
        """The output layer; called by a subclass when it has its embedding."""
        settings = self.settings
        self.head = OutputLayer(settings.width, settings.vocabulary_size, bias=False)
        if settings.tied_embedding:
            self.head.weight = self.embedding.weight

    def hidden(self, tokens: Tensor, *, cache: Cache | None = None, documents: Documents | None = None) -> Tensor:
        """What the output layer sees: tokens int64 [batch, time] to [batch, time, width]."""
        raise NotImplementedError

    def initial_bias(self, name: str, shape: torch.Size) -> Tensor:
        """First values of a bias: zeros, where a model has no reason for others."""
        return torch.zeros(shape)

    def new_cache(self, batch: int) -> Cache:
        """An empty cache for that many rows, on the model's device and in its type."""
        raise NotImplementedError

    def sequence_flops(self) -> int:
        """Operations of the forward pass for one token besides its products with matrices of weights."""
        raise NotImplementedError

    def forward(
        self,
        tokens: Tensor,
        targets: Tensor | None = None,
        *,
        divisor: Tensor | None = None,
        cache: Cache | None = None,
        documents: Documents | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits [batch, time, vocabulary]; with targets what is minimised and the mean cross-entropy in nats.

        Args:
            tokens: int64 [batch, time].
            targets: int64 [batch, time]; positions with ``IGNORED`` do not count.
            divisor: What the sums over targets are divided by, a scalar; None is the number of those that count.
            cache: Earlier tokens; extended by these.
            documents: Keeps the documents of a row apart; not together with a cache.

        Returns:
            The logits, or two float32 scalars, of which only the first has a gradient.
        """
        hidden = self.hidden(tokens, cache=cache, documents=documents)
        if targets is None:
            logits: Tensor = self.head(hidden)
            return logits
        objective, nats = self.head(hidden, targets, self.loss_settings)
        if divisor is None:
            divisor = (targets != IGNORED).sum().clamp(min=1)
        objective = objective / divisor
        if self.balance_loss is not None:
            objective = objective + self.balance_loss
        return objective, nats / divisor

    def parameter_count(self) -> int:
        """Number of different parameters; a tied embedding counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def active_matrices(self) -> int:
        """Weights that a token is multiplied with: all matrices but the embedding, which it only picks from."""
        looked_up = {id(module.weight) for module in self.modules() if isinstance(module, nn.Embedding)}
        matrices = sum(p.numel() for p in self.parameters() if p.dim() > 1 and id(p) not in looked_up)
        return matrices + (self.head.weight.numel() if self.settings.tied_embedding else 0)

    def flops_per_token(self) -> int:
        """Floating-point operations of a training step for one token (Chowdhery et al., arXiv:2204.02311, appendix B).

        6 for each weight of a matrix that the token is multiplied with, 2 forward and 4 backward, and three times the
        operations between tokens, such as 12 * layers * heads * head size * time for attention over a full context.
        """
        return 6 * self.active_matrices() + 3 * self.sequence_flops()
