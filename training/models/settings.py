"""The one dataclass that every model is built from."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from training.settings import Settings

Architecture = Literal["decoder", "gpt2", "transformer", "lstm", "gru", "rnn"]
RECURRENT: tuple[Architecture, ...] = ("lstm", "gru", "rnn")

# What only some architectures have: a setting that would do nothing is an error.
_ONLY: dict[str, tuple[Architecture, ...]] = {
    "key_value_heads": ("decoder",),
    "head_width": ("decoder",),
    "query_key_norm": ("decoder",),
    "rope_base": ("decoder",),
    "previous_token_heads": ("decoder",),
    "experts": ("decoder",),
    "experts_per_token": ("decoder",),
    "expert_balance": ("decoder",),
    "norm_first": ("transformer",),
    "residual": RECURRENT,
    "layer_norm": RECURRENT,
    "truncation": RECURRENT,
}


class ModelSettings(Settings):
    """Shape of the model."""

    architecture: Architecture = Field(
        "decoder",
        description="decoder: rotary positions, RMSNorm, SwiGLU, as Llama and Qwen3. gpt2: learned positions, "
        "LayerNorm, GELU. transformer: the decoder of 2017 with sinusoidal positions and ReLU. lstm, gru, rnn: "
        "recurrent networks.",
    )
    vocabulary_size: int = Field(0, ge=0, description="Entries of the vocabulary; 0 takes it from the token shards.")
    width: int = Field(256, ge=8, description="Size of the residual stream, or of a recurrent state.")
    layers: int = Field(6, ge=1, description="Number of blocks.")
    heads: int = Field(4, ge=1, description="Query heads; recurrent networks have none and leave it alone.")
    key_value_heads: int | None = Field(
        None,
        ge=1,
        description="decoder: key and value heads; fewer than heads is grouped-query attention, null as many.",
    )
    head_width: int | None = Field(None, ge=2, description="decoder: size of a head; null is width / heads.")
    feed_forward_width: int = Field(
        704, ge=1, description="Inner size of the feed-forward block, or of an expert; recurrent networks have none."
    )
    context: int = Field(256, ge=2, description="Longest sequence in tokens.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of activations that are zeroed while training.")
    rope_base: float = Field(10_000.0, gt=0, description="decoder: base of the rotary frequencies.")
    norm_epsilon: float = Field(1e-6, gt=0, description="Added to the variance or mean square before its root.")
    query_key_norm: bool = Field(
        True, description="decoder: normalise queries and keys, as Qwen3 does; false is Llama's shape."
    )
    experts: int = Field(
        0, ge=0, description="decoder: feed-forward blocks a layer, to be chosen from; 0 is one for all."
    )
    experts_per_token: int = Field(2, ge=1, description="decoder: experts that work on a token.")
    expert_balance: float = Field(
        0.01, ge=0, description="decoder: weight of the loss that spreads tokens evenly over experts, in each layer."
    )
    norm_first: bool = Field(
        False, description="transformer: normalise before each block instead of after it, which trains deep ones."
    )
    residual: bool = Field(False, description="Recurrent: add each layer's input to its output.")
    layer_norm: bool = Field(False, description="Recurrent: normalise each layer's input.")
    truncation: int | None = Field(
        None, ge=1, description="Recurrent: steps that gradients flow back; the state flows on. Null is a whole row."
    )
    tied_embedding: bool = Field(False, description="Use the embedding's weights as the output layer's too.")
    initialisation: Literal["normal", "truncated_normal", "xavier", "kaiming", "torch", "mup"] = Field(
        "normal", description="How the first weights are drawn; the formulas are in training/initialisation.py."
    )
    initial_std: float = Field(
        0.02,
        gt=0,
        description="Standard deviation of the first weights; xavier, kaiming and torch use it for embeddings only.",
    )
    zero_output_projections: bool = Field(True, description="Start every block as the identity.")
    depth_scaling: bool = Field(
        True,
        description="Divide the first output projections by the root of twice the layers, where they are not zero.",
    )
    previous_token_heads: int = Field(
        0,
        ge=0,
        description="decoder: heads of each layer that start by attending to the token one, two, three... places "
        "before.",
    )
    base_width: int | None = Field(
        None, ge=1, description="mup: the width at which the learning rates were tuned; null is this model's own."
    )

    @model_validator(mode="after")
    def _shape_is_possible(self) -> Self:
        for name, architectures in _ONLY.items():
            if self.architecture not in architectures and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no meaning for {self.architecture}, only for {', '.join(architectures)}")
        if self.architecture not in RECURRENT:
            self._heads_are_possible()
        if self.experts and self.experts_per_token > self.experts:
            raise ValueError(f"experts_per_token {self.experts_per_token} is more than experts {self.experts}")
        if self.base_width is not None and self.initialisation != "mup":
            raise ValueError(f"base_width has no meaning for initialisation {self.initialisation}, only for mup")
        if self.initialisation == "mup" and self.tied_embedding:
            raise ValueError("tied_embedding: under mup the output layer learns at another rate than the embedding")
        return self

    def _heads_are_possible(self) -> None:
        if self.head_width is None and self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}: change one or set head_width")
        if self.heads % self.key_value_count:
            raise ValueError(f"heads {self.heads} is no multiple of key_value_heads {self.key_value_heads}")
        if self.previous_token_heads > self.heads:
            raise ValueError(f"previous_token_heads {self.previous_token_heads} is more than heads {self.heads}")
        if self.architecture == "decoder" and self.head_size % 2:
            raise ValueError(f"the size of a head, {self.head_size}, has to be even for rotary positions")

    def part(self, ranks: int) -> ModelSettings:
        """The shape of what a rank has, where so many share every layer (``training.tensor_parallel``)."""
        return self.model_copy(
            update={
                "heads": self.heads // ranks,
                "key_value_heads": self.key_value_count // ranks,
                "head_width": self.head_size,
                "feed_forward_width": self.feed_forward_width // ranks,
            }
        )

    @property
    def head_size(self) -> int:
        """Size of a head."""
        return self.head_width or self.width // self.heads

    @property
    def key_value_count(self) -> int:
        """Key and value heads."""
        return self.key_value_heads or self.heads
