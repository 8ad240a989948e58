from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.raw_text.catalogue import Source, load_catalogue
from assets.raw_text.errors import CatalogueError
from training.artifact import fingerprint
from training.settings import SettingsError

SHA256 = "0123456789abcdef" * 4
ENTRY = {"name": "novels", "uri": "novels/*.txt", "language": "en"}


def parse(**fields: Any) -> Source:
    return Source.parse(ENTRY | fields, origin="sources.yaml")


def load(folder: Path, text: str) -> tuple[Source, ...]:
    path = folder / "sources.yaml"
    path.write_text(text, encoding="utf-8")
    return load_catalogue(path).sources


def test_a_catalogue_is_a_list_of_sources(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(
        """
        sources:
          - name: novels
            uri: https://example.org/novels.zip
            sha256: "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"
            include: ["*.txt"]
            documents: {by: regex, pattern: '^CHAPTER \\w+', drop_match: true}
            language: en
            licence: CC0-1.0
            weight: 2
          - name: 新闻-2026.10
            uri: news.csv
            format: csv
            delimiter: "\\t"
            language: zh-Hans
            source: news
            encoding: GBK
            on_invalid: skip
        prompts: {en: ["CHAPTER I"], zh-Hans: [本报讯, 昨天]}
        """,
        encoding="utf-8",
    )
    catalogue = load_catalogue(path)
    novels, news = catalogue.sources
    assert catalogue.folder == tmp_path
    assert catalogue.prompts == {"en": ["CHAPTER I"], "zh-Hans": ["本报讯", "昨天"]}
    assert (novels.sha256, novels.weight, novels.source_name) == (SHA256, 2.0, "novels")
    assert (novels.documents.by, novels.documents.drop_match) == ("regex", True)
    assert (news.delimiter, news.source_name, news.encoding, news.on_invalid) == ("\t", "news", "gbk", "skip")
    assert catalogue["novels"] is novels
    with pytest.raises(CatalogueError, match="no source 'novel', did you mean 'novels'"):
        catalogue["novel"]


@pytest.mark.parametrize("written", ['"\\t"', "'\\t'", "\\t"])
def test_a_tab_may_be_written_in_any_quotes(tmp_path: Path, written: str) -> None:
    text = f"sources: [{{name: a, uri: a.tsv, format: csv, language: en, delimiter: {written}}}]"
    assert load(tmp_path, text)[0].delimiter == "\t"


def test_little_is_needed() -> None:
    source = parse()
    assert (source.format, source.documents.by, source.on_invalid, source.licence) == ("txt", "file", "fail", "unknown")
    assert (source.weight, source.encoding, source.package) == (1.0, None, None)


def test_a_package_is_named_with_its_version() -> None:
    assert parse(uri="package://some.corpus==1.0.post1", sha256=SHA256).package == ("some.corpus", "1.0.post1")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"licens": "MIT"}, "unknown key 'licens', did you mean 'licence'?"),
        ({"documents": {"pater": "x"}}, "unknown key 'documents.pater', did you mean 'pattern'?"),
        ({"qqq": 1}, "unknown key 'qqq', known: delimiter, documents, encoding"),
        ({"format": "text"}, "'format' = 'text': Input should be 'txt', 'markdown', 'html', 'warc', 'epub'"),
        ({"documents": {"by": "lines"}}, "'documents.by' = 'lines': Input should be 'file', 'line', 'blank_line',"),
        ({"on_invalid": "ignore"}, "'on_invalid' = 'ignore': Input should be 'fail' or 'skip'"),
        ({"language": "English"}, "'language' = 'English'"),
        ({"language": False}, "'language' = False: Input should be a valid string"),
        ({"weight": 0}, "'weight' = 0: Input should be greater than 0"),
        ({"weight": float("inf")}, "'weight' = inf: Input should be a finite number"),
        ({"uri": ""}, "'uri' = ''"),
        ({"sha256": "abc"}, "'sha256' = 'abc'"),
        ({"sha256": 12}, "'sha256' = 12: Input should be a valid string"),
        ({"encoding": "utf-9"}, "'encoding' = 'utf-9': is no text encoding Python knows; write e.g. utf-8, gb18030"),
        ({"encoding": "rot13"}, "'encoding' = 'rot13': is no text encoding"),
        ({"uri": "package://corpus==1.0"}, "'sha256' is missing: a package:// source needs the SHA-256 of its archive"),
        ({"uri": "package://corpus", "sha256": SHA256}, "write package://name==version with one exact version"),
        ({"uri": "package://corpus>=1", "sha256": SHA256}, "write package://name==version"),
        ({"uri": "package://--index-url=x==1", "sha256": SHA256}, "write package://name==version"),
        ({"documents": {"by": "regex"}}, "'documents' = {'by': 'regex'}: by: regex needs a 'pattern'"),
        ({"documents": {"by": "regex", "pattern": "("}}, "'pattern' is no regular expression: missing )"),
        ({"documents": {"pattern": "x"}}, "'pattern' and 'drop_match' belong to by: regex"),
        ({"documents": {"by": "line", "drop_match": True}}, "'pattern' and 'drop_match' belong to by: regex"),
        ({"format": "jsonl", "documents": {"by": "line"}}, "'documents' is for txt and markdown; each record of jsonl"),
        ({"documents": {"by": "chapter"}}, "'documents' of epub is by: file (the book) or by: chapter"),
        ({"format": "epub", "documents": {"by": "line"}}, "'documents' of epub is by: file (the book) or by: chapter"),
        ({"format": "pdf", "documents": {"by": "line"}}, "each file of pdf is a document"),
        (
            {"text_field": "body"},
            "'text_field', 'markup', 'id_field' and 'metadata_fields' are for jsonl, parquet, csv",
        ),
        ({"id_field": "key"}, "this source's format is txt"),
        ({"format": "csv", "delimiter": ",,"}, "'delimiter' = ',,'"),
        ({"format": "csv", "delimiter": '"'}, "is no quotation mark and no line end; write e.g. ';' or"),
        ({"delimiter": ";"}, "'delimiter' is for csv; this source's format is txt"),
        ({"format": "epub", "mend_hyphens": False}, "'mend_hyphens' is for pdf; this source's format is epub"),
        ({"format": "jsonl", "html": {"links": True}}, "'html' is for html, warc and 'markup: html'; this source's"),
        ({"format": "parquet", "encoding": "gbk"}, "'encoding' is for text files; this source's format is parquet"),
        ({"include": "*.txt"}, "'include' = '*.txt': Input should be a valid list"),
        ({"include": ["[z-a].txt"]}, "'include' = ['[z-a].txt']: '[z-a].txt' is no glob: bad character range z-a"),
        ({"exclude": ["*.md", "[b-a]"]}, "'[b-a]' is no glob: bad character range b-a"),
        ({"maximum_document_bytes": 1}, "'maximum_document_bytes' = 1: Input should be greater than or equal to 1024"),
        ({"maximum_compression_ratio": 1}, "'maximum_compression_ratio' = 1"),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(**fields)
    assert str(error.value).startswith("sources.yaml: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    "name", ["", ".hidden", "-a", "a/b", "a\\b", "a..b", "a b", "a\n", "..", "e\u0301", "好" * 34, "a:b"]
)
def test_a_name_is_a_folder_and_a_partition(name: str) -> None:
    with pytest.raises(SettingsError, match="is a folder name and partition key: write letters, digits"):
        parse(name=name)


@settings(deadline=None)
@given(st.text(max_size=12))
def test_every_accepted_name_is_one_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    try:
        parse(name=name)
    except SettingsError:
        return
    base = tmp_path_factory.getbasetemp() / "names"
    (base / name).mkdir(parents=True, exist_ok=True)
    assert (base / name).parent.resolve() == base.resolve()
    assert name in {path.name for path in base.iterdir()}


def test_all_mistakes_are_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError) as error:
        load(
            tmp_path,
            """
            sources:
              - {name: a, uri: a.txt, language: en, licens: MIT, weight: -1}
              - {uri: b.txt, language: en}
              - just a string
              - {name: c, uri: c.txt, language: en}
              - {name: C, uri: d.txt, language: en}
            """,
        )
    path = tmp_path / "sources.yaml"
    assert str(error.value).splitlines() == [
        f"{path}, source 'a': 'weight' = -1: Input should be greater than 0; "
        "unknown key 'licens', did you mean 'licence'?",
        f"{path}, source 2: 'name' is missing",
        f"{path}: source 3 is no mapping; write 'name:', 'uri:' and the rest below each '-'",
        f"{path}: two sources are named 'c' and 'C'; rename one",
    ]


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    entry = "{name: news, uri: a.txt, language: en}"
    with pytest.raises(CatalogueError, match="two sources are named 'news' and 'news'; rename one"):
        load(tmp_path, f"sources: [{entry}, {entry}]")


def test_a_key_written_twice_is_refused(tmp_path: Path) -> None:
    """Without its '-' the second source would silently replace the first."""
    with pytest.raises(CatalogueError, match=r"sources\.yaml.*the key 'name' stands there twice(.|\n)*line 5"):
        load(tmp_path, "sources:\n- name: a\n  uri: a.txt\n  language: en\n  name: b\n  uri: b.txt\n")


def test_anchors_and_merges_are_yaml(tmp_path: Path) -> None:
    first, second = load(
        tmp_path,
        "sources:\n- &first {name: a, uri: a.txt, language: fr}\n- {<<: *first, name: b}\n",
    )
    assert (first.name, second.name, second.language) == ("a", "b", "fr")


def test_a_missing_catalogue(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"there is no catalogue at .*nowhere\.yaml; set CORPUSLINE_SOURCES"):
        load_catalogue(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sources: [", "cannot be read as YAML"),
        ("\x00", "cannot be read as YAML"),
        ("a: !!python/object/apply:os.getcwd []", "cannot be read as YAML"),
        ("", "write a list under the key 'sources'"),
        ("- name: a", "write a list under the key 'sources'"),
        ("sources: {}", "write a list under the key 'sources'"),
        ("sources: []", "write a list under the key 'sources'"),
        ("source: [{name: a}]", "write a list under the key 'sources'"),
        ("sources: [{name: a, uri: a, language: en}]\nsurces: []", "unknown key 'surces', did you mean 'sources'"),
        ("sources: [{name: a, uri: a, language: en}]\nprompts: {zh: 从前}", "'prompts' names beginnings of samples by"),
        ("sources: [{name: a, uri: a, language: en}]\nprompts: {zh: [1]}", 'such as zh: ["从前", "有一天"]'),
        ("sources: [{name: 1, uri: a, language: en}]", "source 1: 'name' = 1: Input should be a valid string"),
        ("sources: [{name: a, uri: a, language: en, 1: 2}]", "source 'a': '1' = 1: Keys should be strings"),
    ],
)
def test_what_is_no_catalogue(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CatalogueError) as error:
        load(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "sources.yaml"))
    assert message in str(error.value)


def test_a_catalogue_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_bytes("sources: [{name: 新闻}]".encode("gb18030"))
    with pytest.raises(CatalogueError, match="cannot be read as YAML"):
        load_catalogue(tmp_path / "sources.yaml")


def test_documents_depend_on_neither_place_nor_weight() -> None:
    here = parse()
    elsewhere = parse(uri="https://example.org/novels.zip", sha256=SHA256, weight=3)
    assert fingerprint(here.document_settings()) == fingerprint(elsewhere.document_settings())
    for changed in ({"licence": "MIT"}, {"on_invalid": "skip"}, {"documents": {"by": "line"}}, {"exclude": ["x"]}):
        assert fingerprint(parse(**changed).document_settings()) != fingerprint(here.document_settings())
