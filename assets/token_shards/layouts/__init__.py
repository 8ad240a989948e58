"""Token files as others have them: written from our shards, and read into them (docs/token-layouts.md)."""

from assets.token_shards.layouts.blocks import DocumentBlock
from assets.token_shards.layouts.exporting import export_tokens
from assets.token_shards.layouts.importing import import_tokens
from assets.token_shards.layouts.registry import LAYOUTS, Layout

__all__ = ["LAYOUTS", "DocumentBlock", "Layout", "export_tokens", "import_tokens"]
