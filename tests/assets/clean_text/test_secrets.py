from __future__ import annotations

import base64
import hashlib

import pyarrow as pa
import pytest

from assets.clean_text.masking import mask
from assets.clean_text.secrets import entropy


def noise(length: int, alphabet: str = "hex") -> str:
    """Reproducible characters that look drawn by lot; no maker ever issued them."""
    drawn = b"".join(hashlib.sha256(bytes([index])).digest() for index in range(64))
    text = drawn.hex() if alphabet == "hex" else base64.b64encode(drawn).decode().replace("+", "a").replace("/", "b")
    return text[:length]


def masked(text: str) -> str:
    return str(mask(pa.array([text], pa.string())).texts[0].as_py())


BODY = "\n".join(noise(64 * 9, "base64")[index : index + 64] for index in range(0, 64 * 9, 64))


@pytest.mark.parametrize("name", ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"])
def test_private_key(name: str) -> None:
    block = f"-----BEGIN {name}-----\nProc-Type: 4,ENCRYPTED\n\n{BODY}\n-----END {name}-----"
    assert masked(f"密钥如下\n{block}\n完") == "密钥如下\n<PRIVATE_KEY>\n完"
    assert masked(f"{block} {block}") == "<PRIVATE_KEY> <PRIVATE_KEY>"
    assert masked(block.replace("\n", "\\n")) == "<PRIVATE_KEY>"


def test_private_key_cut_off() -> None:
    assert masked(f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\nThe end of it") == "<PRIVATE_KEY>\nThe end of it"


@pytest.mark.parametrize(
    "text",
    [
        f"-----BEGIN PUBLIC KEY-----\n{BODY}\n-----END PUBLIC KEY-----",
        f"-----BEGIN CERTIFICATE-----\n{BODY}\n-----END CERTIFICATE-----",
        "A block starts with -----BEGIN RSA PRIVATE KEY----- and has an end.",
    ],
)
def test_not_private_key(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    "token",
    [
        "AKIA" + "ABCDEFGH234567AB",
        "ghp_" + noise(36, "base64"),
        "github_pat_" + noise(22) + "_" + noise(59),
        "glpat-" + noise(20),
        "xoxb-" + "123456789012-" + noise(24),
        "AIza" + noise(35),
        "sk_live_" + noise(24),
        "sk-proj-" + noise(40, "base64"),
        "hf_" + noise(34, "base64"),
        "npm_" + noise(36, "base64"),
        "LTAI" + noise(20, "base64"),
        "SG." + noise(22) + "." + noise(43),
        ".".join(("eyJ" + noise(20, "base64"), "eyJ" + noise(60, "base64"), noise(43, "base64"))),
        "hooks.slack.com/services/T" + "0123ABCDE/B" + "0123ABCDE/" + noise(24),
    ],
)
def test_access_token(token: str) -> None:
    assert masked(
        f"token={token}, 令牌：{token}。"
    ) == "token=<ACCESS_TOKEN>, 令牌：<ACCESS_TOKEN>。" or token.startswith("hooks")
    assert masked(f"用 {token} 登录") == "用 <ACCESS_TOKEN> 登录"
    assert masked(f"x{token}") == f"x{token}" or token.startswith("hooks")


@pytest.mark.parametrize(
    "text",
    [
        "task-oriented-and-risk-averse-people",
        "sk-learn-compatible-estimators-and-more",
        "AKIA1234 AKIAabcdefghijklmnop ghp_short eyJhbGciOi eyJ.eyJ.x",
        "npm_config_registry hf_hub_download xoxb- AIzaXYZ",
    ],
)
def test_not_access_token(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'api_key = "{noise(32)}"', 'api_key = "<SECRET>"'),
        (f"AWS_SECRET_ACCESS_KEY={noise(40, 'base64')}\nnext", "AWS_SECRET_ACCESS_KEY=<SECRET>\nnext"),
        (f"{{'client-secret': '{noise(24, 'base64')}'}}", "{'client-secret': '<SECRET>'}"),
        (f"token := {noise(20)}; ", "token := <SECRET>; "),
        (f"{{:secret => '{noise(20)}'}}", "{:secret => '<SECRET>'}"),
        ("password: Abc12345!", "password: <SECRET>"),
        ("密码：Abc12345，账号", "密码：<SECRET>，账号"),
        (f"密钥＝{noise(32)}。", "密钥＝<SECRET>。"),
    ],
)
def test_secret(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "password: forgotten",
        "密码：请输入密码",
        "api_key = os.environ['API_KEY']",
        "token = get_token(user_name)",
        'key: "an ordinary sentence stands here"',
        "secret = aaaaaaaaaaaaaaaa1",
        f"sha256: {noise(64)}",
        f"commit {noise(40)}",
        f"the key {noise(32)}",
        "The key: a long, rusty, iron thing.",
        "password: typing.Optional2[str] = None; key = Conv1dCacheLayer2Attention(x); api_key = self.ai21labs_api_key",
        "primary_key=customer_identifier_column",
        "key: transformer.layers.0.attention.query_key_value.weight, shape: torch.Size([4256, 1064])",
    ],
)
def test_not_secret(text: str) -> None:
    assert masked(text) == text


def test_entropy() -> None:
    assert [entropy(text) for text in ("aaaa", "abab", "abcdabcd", "01234567")] == [0, 1, 2, 3]
