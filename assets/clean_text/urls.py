"""URLs of many documents at once: one form for what names the same page, hosts, domains, and what can be measured.

A URL may come without its scheme. Hosts are in lower case and ASCII: ``例子.中国`` and ``xn--fsqu00a.xn--fiqs8s``
are the same host.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import idna
import pyarrow as pa
import pyarrow.compute as pc
import regex
from tldextract import TLDExtract

from assets.clean_text.arrays import string_array, strings

_PARTS = (
    r"(?s)^(?:[A-Za-z][A-Za-z0-9+.\-]*://|//)?(?:[^/?#@\s]*@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^/?#:@\[\]\pZ\p{Cc}]+)(?::(?P<port>[0-9]+))?(?P<rest>[/?#].*)?$"
)
_EMPTY_PORT = r"^((?:[A-Za-z][A-Za-z0-9+.\-]*:)?//[^/?#]+):([/?#]|$)"
_ADDRESS = r"^(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[.*\])$"
_NOT_PLAIN = r"[^!-~]|%"
_PATH_ENDS = ((r"#.*$", ""), (r"^([^?]*)\?$", r"\1"), (r"^/+(\?.*)?$", r"\1"), (r"^([^?]*[^?/])/+(\?.*)?$", r"\1\2"))
_ESCAPE = regex.compile("%([0-9A-Fa-f]{2})?")
_NAME = regex.compile(r"[a-z0-9_.\-]+")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # RFC 3986, section 2.3
_VISIBLE_ASCII = "".join(map(chr, range(ord("!"), ord("~") + 1)))

_FEATURES: list[pa.Field[Any]] = [
    pa.field("host", pa.string()),
    pa.field("registered_domain", pa.string()),
    pa.field("url_path_depth", pa.int32()),
    pa.field("url_digit_share", pa.float64()),
    pa.field("url_length", pa.int32()),
    pa.field("url_is_ip_host", pa.bool_()),
]

URL_FEATURES: pa.Schema = pa.schema(_FEATURES)
"""A row a document, all null where it has no URL. ``host`` is null where the URL has none; ``registered_domain`` is the
part of the host that someone registered, null for addresses and names outside of the public suffixes.
``url_path_depth`` counts parts between slashes, ``url_digit_share`` is of the characters, as is ``url_length``."""


def hosts(urls: pa.StringArray) -> pa.StringArray:
    """The host of each URL, null where there is none."""
    return _host(_parts(urls))


def normal_urls(urls: pa.StringArray) -> pa.StringArray:
    """One form for URLs of the same page: null for null, and what has no host as it is.

    Scheme, account, ``www.``, the ports 80 and 443, fragment, empty query and slashes at the path's end go; the host is
    in lower case and ASCII; escapes are those of RFC 3986, section 6.2.2, in capitals, and none for letters, digits and
    ``-._~``; a lone ``%``, spaces and characters outside of ASCII are escaped.
    """
    trimmed = pc.utf8_trim_whitespace(urls)
    parts = _parts(trimmed)
    host = pc.replace_substring_regex(_host(parts), pattern=r"^(?:www\.)+(.+\..+)$", replacement=r"\1")
    port = _port(parts)
    rest = _changed(pc.struct_field(parts, "rest"), _NOT_PLAIN, _escaped)
    for pattern, replacement in _PATH_ENDS:
        rest = pc.replace_substring_regex(rest, pattern=pattern, replacement=replacement)
    join: Any = pc.binary_join_element_wise
    return cast("pa.StringArray", pc.coalesce(join(host, port, rest, ""), trimmed))


def url_features(urls: pa.StringArray) -> pa.Table:
    """What URLs tell of their pages.

    Args:
        urls: (n,), null where a document has none.

    Returns:
        n rows of schema ``URL_FEATURES``.
    """
    trimmed: Any = pc.utf8_trim_whitespace(urls)
    parts = _parts(trimmed)
    host: Any = _host(parts)
    path = pc.replace_substring_regex(pc.struct_field(parts, "rest"), pattern="[?#].*$", replacement="")
    depth: Any = pc.count_substring_regex(path, "/[^/]+")
    digits = pc.count_substring_regex(trimmed, "[0-9]").cast(pa.float64())
    length: Any = pc.utf8_length(trimmed)
    there = trimmed.is_valid()
    columns: list[Any] = [
        host,
        registered_domains(host),
        pc.if_else(there, depth.fill_null(0), None),
        pc.if_else(pc.equal(length, pa.scalar(0, pa.int32())), 0.0, pc.divide(digits, length.cast(pa.float64()))),
        length,
        pc.if_else(there, pc.match_substring_regex(host, _ADDRESS).fill_null(False), None),
    ]
    features: pa.Table = pa.Table.from_arrays(columns, schema=URL_FEATURES)
    return features


def registered_domains(hosts: pa.StringArray) -> pa.StringArray:
    """The label below the public suffix, and the suffix: ``example.co.uk`` of ``a.b.example.co.uk``.

    By the ICANN part of the Public Suffix List as tldextract brings it; nothing is downloaded. Null for null, for
    addresses, for a suffix alone and for hosts without a public suffix.
    """
    return _by_value(hosts, lambda host: public_suffixes().extract_str(host).top_domain_under_public_suffix or None)


@cache
def public_suffixes() -> TLDExtract:
    """The Public Suffix List inside tldextract's package, without its private part, no cache and no network."""
    return TLDExtract(suffix_list_urls=(), cache_dir=None)


def ascii_host(host: str) -> str:
    """A host name in lower-case ASCII by UTS 46, or IDNA 2003 for what that refuses; as it is, if both do."""
    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        pass
    try:
        name = host.encode("idna").decode().lower()
    except UnicodeError:
        name = ""
    return name if _NAME.fullmatch(name) else host.lower()


def _parts(urls: pa.StringArray) -> pa.StructArray:
    named: Any = pc.replace_substring_regex(urls, pattern=_EMPTY_PORT, replacement=r"\1\2")
    parts: pa.StructArray = pc.extract_regex(named, _PARTS)
    return parts


def _host(parts: pa.StructArray) -> pa.StringArray:
    host = _changed(pc.ascii_lower(pc.struct_field(parts, "host")), "[^ -~]", ascii_host)
    return pc.replace_substring_regex(host, pattern=r"^(.+)\.$", replacement=r"\1")


def _port(parts: pa.StructArray) -> pa.StringArray:
    """Nothing for a default port, the port behind a colon for another."""
    port: Any = pc.replace_substring_regex(pc.struct_field(parts, "port"), pattern="^(?:80|443)$", replacement="")
    return cast("pa.StringArray", pc.replace_substring_regex(port, pattern="^(.+)$", replacement=r":\1"))


def _escaped(rest: str) -> str:
    rest = urllib.parse.quote(rest, safe=_VISIBLE_ASCII)
    return _ESCAPE.sub(_plain_or_capital, rest)


def _plain_or_capital(escape: regex.Match[str]) -> str:
    if not escape[1]:
        return "%25"
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def _changed(values: pa.StringArray, pattern: str, change: Callable[[str], str]) -> pa.StringArray:
    """The values, those that match an RE2 pattern changed one by one."""
    rows: Any = pc.match_substring_regex(values, pattern).fill_null(False)
    if not rows.true_count:
        return values
    changed: pa.StringArray = pc.replace_with_mask(
        values, rows, string_array(list(map(change, strings(values.filter(rows)))))
    )
    return changed


def _by_value(values: pa.StringArray, function: Callable[[str], str | None]) -> pa.StringArray:
    """A function of each value, asked once for each different one; null for null."""
    encoded: Any = values.dictionary_encode()
    results: Any = pa.array(map(function, strings(encoded.dictionary)), pa.string())
    return cast("pa.StringArray", results.take(encoded.indices))
