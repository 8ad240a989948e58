from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assets.clean_text.urls import URL_FEATURES, ascii_host, hosts, normal_urls, registered_domains, url_features


def array(*urls: str | None) -> pa.StringArray:
    return pa.array(list(urls), pa.string())


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.Example.com/a?b#c", "www.example.com"),
        ("http://user:secret@example.com:8080/", "example.com"),
        ("example.com", "example.com"),
        ("//example.com./x", "example.com"),
        ("http://例子.中国/页", "xn--fsqu00a.xn--fiqs8s"),
        ("http://xn--fsqu00a.xn--fiqs8s", "xn--fsqu00a.xn--fiqs8s"),
        ("http://BÜCHER.example", "xn--bcher-kva.example"),
        ("https://[2001:db8::1]:443/x", "[2001:db8::1]"),
        ("http://10.1.2.3/x", "10.1.2.3"),
        ("http://blocked.example:/x", "blocked.example"),
        ("http://blocked.example/two\nlines", "blocked.example"),
        ("http:///x", None),
        ("not a url at all", None),
        ("", None),
        (None, None),
    ],
)
def test_hosts(url: str | None, host: str | None) -> None:
    assert hosts(array(url)).to_pylist() == [host]


@pytest.mark.parametrize(
    "urls",
    [
        (
            "https://example.com",
            "http://www.example.com/",
            "EXAMPLE.com:443",
            " //example.com:80// ",
            "example.com/#top",
        ),
        ("http://a.org/x/y", "https://a.org/x/y/", "a.org/x/y#part", "a.org/x/y?"),
        ("http://a.org/x", "http://a.org:/x", "https://a.org:443/x"),
        ("http://a.org/?q=1", "https://a.org?q=1"),
        ("http://a.org/x/?q=a/b/", "https://a.org/x?q=a/b/"),
        ("https://zh.example/wiki/中文", "https://zh.example/wiki/%e4%b8%ad%E6%96%87"),
        ("http://a.org/%7Euser/%2f", "http://a.org/~user/%2F"),
        ("http://例子.中国/x", "http://xn--fsqu00a.xn--fiqs8s/x"),
    ],
)
def test_one_form_for_one_page(urls: tuple[str, ...]) -> None:
    assert len(set(normal_urls(array(*urls)).to_pylist())) == 1


def test_other_pages_have_other_forms() -> None:
    urls = array(
        "a.org", "a.org/x", "a.org/X", "b.a.org", "a.org:8080", "a.org/x?y", "a.org/x?y=", "a.org/%2F", "a.org/x//y"
    )
    assert len(set(normal_urls(urls).to_pylist())) == len(urls)
    assert normal_urls(array(None, "www.com", "100%")).to_pylist() == [None, "www.com", "100%"]


@settings(max_examples=300, deadline=None)
@example("@\x1f0")
@example("@\u30000")
@given(
    st.text()
    | st.from_regex(r"(https?://)?(www\.)?[a-zA-Zü中]{1,5}\.[a-z]{2,3}(:\d{1,4})?[/?#%a~0-9é]{0,12}", fullmatch=True)
)
def test_the_normal_form_is_stable(url: str) -> None:
    once = normal_urls(array(url))
    assert normal_urls(once).equals(once) or not once[0].as_py()
    assert url_features(array(url)).schema == URL_FEATURES


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("a.b.example.co.uk", "example.co.uk"),
        ("example.com", "example.com"),
        ("news.sina.com.cn", "sina.com.cn"),
        ("someone.github.io", "github.io"),
        ("www.xn--fsqu00a.xn--fiqs8s", "xn--fsqu00a.xn--fiqs8s"),
        ("co.uk", None),
        ("10.1.2.3", None),
        ("localhost", None),
        (None, None),
    ],
)
def test_registered_domains(host: str | None, domain: str | None) -> None:
    assert registered_domains(array(host, "example.org", host)).to_pylist() == [domain, "example.org", domain]


def test_features() -> None:
    table = url_features(array("https://www.example.co.uk/2024/05/x.html?a=/b/c", None, "http://10.1.2.3", "what?", ""))
    assert table.schema == URL_FEATURES
    first, missing, address, odd, empty = table.to_pylist()
    assert first == {
        "host": "www.example.co.uk",
        "registered_domain": "example.co.uk",
        "url_path_depth": 3,
        "url_digit_share": pytest.approx(6 / 47),
        "url_length": 47,
        "url_is_ip_host": False,
    }
    assert set(missing.values()) == {None}
    assert address["url_is_ip_host"] is True
    assert (address["registered_domain"], address["url_path_depth"]) == (None, 0)
    assert (odd["host"], odd["registered_domain"]) == ("what", None)
    assert (empty["host"], empty["url_digit_share"], empty["url_length"], empty["url_is_ip_host"]) == (
        None,
        0,
        0,
        False,
    )


def test_hosts_that_no_standard_knows_stay() -> None:
    assert ascii_host("i❤.ws") == "xn--i-7iq.ws"
    assert ascii_host("É" * 80) == "é" * 80
