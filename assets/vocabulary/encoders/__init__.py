"""Encoders: ways from texts to ids that give the same ids, the fastest that is proved first."""

from assets.vocabulary.encoders.encoded import EncodedTexts, Encoder
from assets.vocabulary.encoders.trusted import TrustedEncoder, trusted_encoder

__all__ = ["EncodedTexts", "Encoder", "TrustedEncoder", "trusted_encoder"]
