"""How secrets of machines are written: private keys, tokens with a maker's prefix, values of names like "api_key".

As in ``personal_data``, no pattern has an unbounded repetition inside another, and none begins inside a run of what it
is made of.
"""

from __future__ import annotations

import math
from collections import Counter

import regex

from assets.clean_text.personal_data import Form, Span

_LEAST_ENTROPY = 3.5  # bits a character; gitleaks' rule "generic-api-key"
_LEAST_HEX_ENTROPY = 3.0  # bits a character; detect-secrets' HexHighEntropyString
_LEAST_KEY = 16
_LEAST_PASSWORD = 8


def entropy(text: str) -> float:
    """Shannon entropy of the frequencies of a text's characters, in bits a character."""
    frequencies = [count / len(text) for count in Counter(text).values()]
    return -sum(frequency * math.log2(frequency) for frequency in frequencies)


def _random_value(match: regex.Match[str]) -> Span | None:
    """A value that looks drawn by lot, or a password of three kinds of characters behind a name for a password.

    ``self.api_key2``, ``layers.0.key_norm1`` and what is called or indexed are names of values.
    """
    value = match["value"]
    if _DOTTED_NAME.fullmatch(value):
        return None
    kinds = sum(bool(kind.search(value)) for kind in _CHARACTER_KINDS)
    if match["password"]:
        return match.span("value") if kinds >= 3 else None
    least = _LEAST_HEX_ENTROPY if _HEX.fullmatch(value) else _LEAST_ENTROPY
    mixed = bool(_DIGIT.search(value)) and kinds >= 2
    return match.span("value") if len(value) >= _LEAST_KEY and mixed and entropy(value) >= least else None


def _compile(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern, regex.ASCII)


_DOTTED_NAME = _compile(r"[A-Za-z_]\w*+(?:\.(?:[A-Za-z_]\w*+|\d++))++")
_HEX = _compile(r"[0-9A-Fa-f]+")
_DIGIT = _compile(r"\d")
_CHARACTER_KINDS = tuple(map(_compile, (r"[a-z]", r"[A-Z]", r"\d", r"[^A-Za-z\d]")))

_KEY_END = r"-----END [A-Z ]{0,32}PRIVATE KEY(?: BLOCK)?-----"

PRIVATE_KEY = (
    Form(
        _compile(
            r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:(?:(?!-----)[^<]){16,16384}" + _KEY_END + r"|(?:[\s\"+\\n]{1,8}[A-Za-z0-9+/=]{40,76}){1,400})"
        )
    ),
)
"""PEM blocks; of one whose end was cut off, its lines of base64."""

ACCESS_TOKEN = (
    Form(
        _compile(
            r"(?<![\w\-])(?:"
            r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"  # Amazon
            r"|gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_\w{82}"  # GitHub
            r"|glpat-[\w\-]{20,64}"  # GitLab
            r"|xox[abeoprs]-[A-Za-z0-9\-]{10,250}"  # Slack
            r"|AIza[\w\-]{35}|ya29\.[\w\-]{20,512}"  # Google
            r"|[sr]k_live_[A-Za-z0-9]{16,99}"  # Stripe
            r"|sk-(?=[\w\-]{0,40}\d)[\w\-]{20,200}"  # OpenAI, Anthropic
            r"|hf_[A-Za-z0-9]{34,40}"  # Hugging Face
            r"|npm_[A-Za-z0-9]{36}|pypi-[\w\-]{85,250}"  # package indexes
            r"|LTAI[A-Za-z0-9]{12,20}|AKID[A-Za-z0-9]{13,40}"  # Alibaba, Tencent
            r"|SG\.[\w\-]{22}\.[\w\-]{43}"  # SendGrid
            r"|eyJ[\w\-]{10,4096}\.eyJ[\w\-]{10,8192}\.[\w\-]{10,1024}"  # JSON web tokens
            r")(?![\w\-])"
        )
    ),
    Form(_compile(r"(?<!\w)hooks\.slack\.com/services/T\w{6,16}/B\w{6,16}/\w{16,40}(?!\w)")),
)
"""Tokens that their makers gave a prefix to be found by."""

SECRET = (
    Form(
        _compile(
            r"(?:(?P<password>(?i:passwo?r?d|pwd)|密码|密碼|口令)|(?i:key|token|secret)|密钥|密鑰|令牌)"
            r"[\"'`\])]{0,2}[ \t]{0,4}(?::=|=>|=|:)[ \t]{0,4}[\"'`]?"
            r"(?P<value>[\w\-+/.~!@#$%^&*]{8,512}+={0,2}+)(?![\w+/=(\[])"
        ),
        _random_value,
    ),
)
"""Values behind a name like "api_key", "secret", "token", "password" or "密码" and a sign like ``=`` or ``:``."""
