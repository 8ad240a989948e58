from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.errors import CleanTextError
from assets.clean_text.opt_out import BlockList, Fingerprints, OptOutSettings

ID = hashlib.sha256(b"one").hexdigest()[:32]
OTHER = hashlib.sha256(b"other").hexdigest()[:32]


def array(*values: str | None) -> pa.StringArray:
    return pa.array(list(values), pa.string())


def write(path: Path, content: str) -> Path:
    path.write_text(content, "utf-8")
    return path


def load(**paths: Path) -> BlockList:
    return BlockList.load(OptOutSettings(**{kind: (path,) for kind, path in paths.items()}))


def reasons(blocks: BlockList, *urls: str | None) -> list[str | None]:
    return blocks.blocked(array(*[OTHER] * len(urls)), array(*urls)).to_pylist()


def test_domains_block_their_subdomains(tmp_path: Path) -> None:
    path = write(
        tmp_path / "domains.txt",
        "# owners who asked\nexample.com\n\n*.Example.org.  # all of it\n例子.中国\nshop.co.uk\n",
    )
    blocks = load(domains=path)
    blocked = [
        "http://example.com/x",
        "https://a.b.EXAMPLE.com:8443",
        "www.example.org",
        "xn--fsqu00a.xn--fiqs8s/x",
        "新.例子.中国",
    ]
    free = [
        "http://my-example.com",
        "http://example.com.cn",
        "http://example.net/example.com",
        "http://other.co.uk",
        "odd",
        None,
    ]
    assert reasons(blocks, *blocked) == ["opt_out_domain"] * len(blocked)
    assert reasons(blocks, *free) == [None] * len(free)


def test_urls_block_one_page_in_all_its_forms(tmp_path: Path) -> None:
    blocks = load(urls=write(tmp_path / "urls.txt", "https://www.example.com/a/ # a page\nexample.com/中文#part\n"))
    assert reasons(
        blocks, "http://example.com/a", "example.com/%E4%B8%AD%e6%96%87", "example.com/a/b", "example.com"
    ) == [
        "opt_out_url",
        "opt_out_url",
        None,
        None,
    ]


def test_documents_come_first(tmp_path: Path) -> None:
    blocks = load(
        documents=write(tmp_path / "documents.txt", ID),
        urls=write(tmp_path / "urls.txt", "example.com/a"),
        domains=write(tmp_path / "domains.txt", "example.com"),
    )
    assert len(blocks) == 3
    urls = array("example.com/a", "example.com/a", "example.com/b", None, None)
    assert blocks.blocked(array(ID, OTHER, OTHER, ID, OTHER), urls).to_pylist() == [
        "opt_out_document",
        "opt_out_url",
        "opt_out_domain",
        "opt_out_document",
        None,
    ]


def test_no_list_blocks_nothing() -> None:
    blocks = BlockList.load(OptOutSettings())
    assert reasons(blocks, "http://example.com", None) == [None, None]
    assert blocks.blocked(array(), array()).to_pylist() == []


def test_yaml_and_parquet_are_the_same_list(tmp_path: Path) -> None:
    pq.write_table(pa.table({"domain": ["example.com", None, ""], "added": [1, 2, 3]}), tmp_path / "domains.parquet")
    for path in (write(tmp_path / "d.yaml", "# why\n- example.com\n- ''\n"), tmp_path / "domains.parquet"):
        blocks = load(domains=path)
        assert len(blocks) == 1
        assert reasons(blocks, "http://www.example.com") == ["opt_out_domain"]


@pytest.mark.parametrize(
    ("kind", "name", "content", "message"),
    [
        (
            "domains",
            "d.txt",
            "# x\nexample.com\n\nhttp://example.org/x\n",
            r"d\.txt, line 4: 'http://example.org/x' is no domain",
        ),
        ("domains", "d.txt", "a.com\nco.uk", r"d\.txt, line 2: 'co.uk' is a public suffix"),
        ("domains", "d.txt", "com", "line 1: 'com' is a public suffix"),
        ("domains", "d.txt", "中国", "line 1: '中国' is a public suffix"),
        ("domains", "d.txt", "anything.ck", "line 1: 'anything.ck' is a public suffix"),
        ("domains", "d.txt", "a b.com", "line 1: 'a b.com' is no domain"),
        ("urls", "u.txt", "example.com\nnonsense", r"u\.txt, line 2: 'nonsense' is no URL"),
        ("documents", "i.txt", f"{ID}\n{ID[:-1]}", r"i\.txt, line 2: '[0-9a-f]{31}' is no document id"),
        ("domains", "d.yaml", "- a.com\n- b: c\n", r"d\.yaml, line 2: write a list"),
        ("domains", "d.yaml", "a: b\n", r"d\.yaml, line 1: write a list"),
        ("domains", "d.yaml", "- 'a.com\n", r"d\.yaml: is no YAML"),
        ("domains", "d.yaml", "- a.com\n\n- com\n", r"d\.yaml, line 3: 'com' is a public suffix"),
        ("domains", "d.parquet", "text", r"d\.parquet: cannot be read"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, kind: str, name: str, content: str, message: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(CleanTextError, match=message):
        load(**{kind: path})


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("a.com\nbücher.com\n".encode("latin-1"))
    with pytest.raises(CleanTextError, match=r"latin\.txt, line 2: is not UTF-8"):
        load(domains=tmp_path / "latin.txt")
    with pytest.raises(CleanTextError, match=r"missing\.txt: cannot be read"):
        load(domains=tmp_path / "missing.txt")
    pq.write_table(pa.table({"number": [1]}), tmp_path / "n.parquet")
    with pytest.raises(CleanTextError, match=r"n\.parquet: has 0 columns of strings"):
        load(domains=tmp_path / "n.parquet")


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_bytes(b"\xef\xbb\xbfexample.com\r\nexample.org\r\n")
    assert reasons(load(domains=tmp_path / "d.txt"), "example.com", "example.org") == ["opt_out_domain"] * 2


def test_two_hundred_thousand_entries(tmp_path: Path) -> None:
    count = 200_000
    domains = write(tmp_path / "domains.txt", "".join(f"site-{index}.example.com\n" for index in range(count)))
    pq.write_table(pa.table({"id": [f"{index:032x}" for index in range(count)]}), tmp_path / "documents.parquet")
    blocks = load(domains=domains, documents=tmp_path / "documents.parquet")
    assert len(blocks) == 2 * count
    urls = array(*[f"http://www.site-{index}.example.com/{index}" for index in range(0, 2 * count, 100)])
    found = blocks.blocked(array(*[OTHER] * len(urls)), urls).to_pylist()
    assert found == ["opt_out_domain"] * 2000 + [None] * 2000
    ids = array(*[f"{index:032x}" for index in range(0, 2 * count, 100)])
    assert blocks.blocked(ids, array(*[None] * len(ids))).to_pylist() == ["opt_out_document"] * 2000 + [None] * 2000


@settings(max_examples=100, deadline=None)
@given(st.sets(st.text()), st.lists(st.none() | st.text()), st.integers(0, 3))
def test_fingerprints_are_a_set(entries: set[str], asked: list[str | None], offset: int) -> None:
    held = Fingerprints.of([array(*entries), array()])
    values = array(*asked, *entries)[offset:]
    assert len(held) == len(entries)
    assert held.hold(values).tolist() == [value in entries for value in values.to_pylist()]
