"""The catalogue: one YAML file that names every source of text, each of which is one dump and one partition."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import regex
import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from assets.raw_text.errors import CatalogueError
from assets.raw_text.globs import matches
from assets.raw_text.layouts import LAYOUTS
from training.settings import Settings, SettingsError, nearest

Format = Literal[
    "txt", "markdown", "html", "warc", "epub", "pdf", "wikipedia", "jsonl", "parquet", "csv", "datatrove", "dolma"
]  # fmt: skip

PACKAGE = "package://"
TEXT_FORMATS = ("txt", "markdown")
RECORD_FORMATS = ("jsonl", "parquet", "csv", *LAYOUTS)
# They say themselves in which encoding they are.
_BINARY_FORMATS = ("parquet", "epub", "pdf", "wikipedia")

_NAME = regex.compile(r"[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]*")
_PACKAGE_URI = regex.compile(r"package://(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==(?P<version>[\w.!+-]+)")


class DocumentSettings(Settings):
    """How a text file becomes documents. Records (jsonl, parquet, csv) are a document each, whatever stands here."""

    by: Literal["file", "line", "blank_line", "regex", "chapter"] = Field(
        "file",
        description="file: the whole file is one document; line: each line that is not blank; blank_line: blocks "
        "between blank lines; regex: a document starts where the pattern matches; chapter: for epub, each file of a "
        "book instead of the whole book.",
    )
    pattern: str | None = Field(
        None,
        description="For by: regex. A regular expression on the text (inline flags such as (?im) and classes such as "
        "\\p{Han} are known); a match may span at most 65,536 characters.",
    )
    drop_match: bool = Field(
        False,
        description="For by: regex. What matches separates two documents and belongs to neither, "
        "instead of being the start of the second.",
    )

    @model_validator(mode="after")
    def _pattern_belongs_to_regex(self) -> Self:
        if self.by != "regex":
            if self.pattern is not None or self.drop_match:
                raise ValueError("'pattern' and 'drop_match' belong to by: regex")
            return self
        if not self.pattern:
            raise ValueError("by: regex needs a 'pattern'")
        try:
            regex.compile(self.pattern)
        except regex.error as error:
            raise ValueError(f"'pattern' is no regular expression: {error}") from None
        return self


class HtmlSettings(Settings):
    """Which part of a page in HTML is text."""

    main_content: bool = Field(
        True, description="Only the main content, without navigation, headers, footers and advertisements."
    )
    comments: bool = Field(True, description="Readers' comments below an article belong to the main content.")
    links: bool = Field(False, description="Write the address of a link behind its text.")
    alt_texts: bool = Field(False, description="Write the descriptions of pictures.")
    maximum_bytes: int = Field(
        16 << 20,
        ge=1024,
        le=512 << 20,
        description="Largest page; its parsed form needs many times its bytes of memory.",
    )


class Source(Settings):
    """One entry of the catalogue: where text comes from and how it becomes documents."""

    name: str = Field(description="Name of the dump: the partition key and a folder name.")
    uri: str = Field(
        min_length=1,
        description="A file, folder or glob (relative to the catalogue's folder), file://, https:// or any address "
        "fsspec opens, or package://name==version from the configured Python package index.",
    )
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the one file the uri names; needed for package://."
    )
    format: Format = Field(
        "txt",
        description="What the member files hold, once unpacked. html: each file is a page and a document. warc: web "
        "archives, also as text (WET). epub, pdf: each file is a document. wikipedia: XML dumps of MediaWiki, each "
        "article a document. datatrove, dolma: jsonl or Parquet as these tools write it.",
    )
    include: list[str] = Field(
        default_factory=list,
        description="Globs of the member files to read, matched against the end of their path (a leading / anchors; "
        "** crosses folders). Empty: in folders and archives, the files with the format's usual endings.",
    )
    exclude: list[str] = Field(default_factory=list, description="Globs of member files to leave out.")
    documents: DocumentSettings = Field(
        default_factory=DocumentSettings, description="How a text file becomes documents."
    )
    text_field: str = Field("text", description="Field or column with the text (jsonl, parquet, csv).")
    markup: Literal["none", "html"] = Field(
        "none", description="What the text field holds (jsonl, parquet, csv). html: pages, whose text is extracted."
    )
    html: HtmlSettings = Field(
        default_factory=HtmlSettings,
        description="For pages (format: html, warc; markup: html). What of a page is text.",
    )
    id_field: str | None = Field(None, description="Field or column kept as 'id' in the document's metadata.")
    metadata_fields: list[str] = Field(
        default_factory=list, description="Fields or columns kept in the document's metadata."
    )
    mend_hyphens: bool = Field(
        True, description="For pdf: put words together that a hyphen at the end of a line divides."
    )
    delimiter: str = Field(",", min_length=1, max_length=1, description="Column separator of csv; '\\t' is a tab.")
    language: str = Field(
        pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", description="Language code of the documents, e.g. en, zh."
    )
    licence: str = Field("unknown", description="Licence of the documents, as it shall stand in the model card.")
    weight: float = Field(1.0, gt=0, description="Share in the training mixture, relative to the other sources.")
    encoding: str | None = Field(None, description="Encoding of all text files; empty: detected for each file.")
    on_invalid: Literal["fail", "skip"] = Field(
        "fail",
        description="What becomes of a document that cannot be read (undecodable bytes, invalid JSON, no text field, "
        "too large) or an empty file: fail the dump, or skip it with a row in skipped.parquet.",
    )
    source: str = Field("", description="Value of the documents' source column; empty: the name.")
    maximum_document_bytes: int = Field(
        64 << 20, ge=1024, le=512 << 20, description="Largest document, in bytes as it lies in the file."
    )
    maximum_unpacked_bytes: int = Field(
        256 << 30, ge=1024, description="Most bytes that one compressed file or archive may unpack to."
    )
    maximum_compression_ratio: float = Field(
        200.0, gt=1, description="Most unpacked bytes for each packed byte, counted from 16 MiB unpacked."
    )

    @field_validator("name")
    @classmethod
    def _safe_name(cls, name: str) -> str:
        if (
            not _NAME.fullmatch(name)
            or ".." in name
            or len(name.encode()) > 100
            or not unicodedata.is_normalized("NFC", name)
        ):
            raise ValueError(
                "is a folder name and partition key: write letters, digits, '-', '_' and single '.', "
                "starting with a letter or digit, at most 100 bytes"
            )
        return name

    @field_validator("include", "exclude")
    @classmethod
    def _good_globs(cls, globs: list[str]) -> list[str]:
        for glob in globs:
            try:
                matches("", [glob])
            except re.error as error:
                raise ValueError(f"'{glob}' is no glob: {error.msg}") from None
        return globs

    @field_validator("sha256", mode="before")
    @classmethod
    def _lower_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("delimiter", mode="before")
    @classmethod
    def _tab(cls, delimiter: Any) -> Any:
        # In YAML a backslash between single quotes is one.
        return "\t" if delimiter == "\\t" else delimiter

    @field_validator("delimiter")
    @classmethod
    def _no_quote_or_line_end(cls, delimiter: str) -> str:
        if delimiter in '"\r\n':
            raise ValueError(
                "separates columns, so that it is no quotation mark and no line end; write e.g. ';' or '\\t'"
            )
        return delimiter

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str | None) -> str | None:
        if encoding is None:
            return None
        try:
            codec = codecs.lookup(encoding)
            "".encode(codec.name)
        except LookupError:
            raise ValueError("is no text encoding Python knows; write e.g. utf-8, gb18030, big5, cp1252") from None
        return codec.name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.uri.startswith(PACKAGE):
            if not _PACKAGE_URI.fullmatch(self.uri):
                raise ValueError(f"'uri' = '{self.uri}': write package://name==version with one exact version")
            if self.sha256 is None:
                raise ValueError("'sha256' is missing: a package:// source needs the SHA-256 of its archive")
        if (self.format == "epub") != (self.documents.by == "chapter") and self.documents.by != "file":
            raise ValueError("'documents' of epub is by: file (the book) or by: chapter, which no other format has")
        if self.format not in (*TEXT_FORMATS, "epub") and self.documents.by != "file":
            unit = {"html": "page", "pdf": "file", "wikipedia": "article"}.get(self.format, "record")
            raise ValueError(f"'documents' is for txt and markdown; each {unit} of {self.format} is a document")
        if self.format not in RECORD_FORMATS and (
            self.id_field or self.metadata_fields or self.text_field != "text" or self.markup != "none"
        ):
            raise ValueError(
                f"'text_field', 'markup', 'id_field' and 'metadata_fields' are for {', '.join(RECORD_FORMATS)}; "
                f"this source's format is {self.format}"
            )
        reads_pages = self.format in ("html", "warc") or self.markup == "html"
        for name, of_no_use, formats in (
            ("delimiter", self.delimiter != "," and self.format != "csv", "csv"),
            ("mend_hyphens", not self.mend_hyphens and self.format != "pdf", "pdf"),
            ("html", self.html != HtmlSettings() and not reads_pages, "html, warc and 'markup: html'"),
            ("encoding", self.encoding is not None and self.format in _BINARY_FORMATS, "text files"),
        ):
            if of_no_use:
                raise ValueError(f"'{name}' is for {formats}; this source's format is {self.format}")
        return self

    @property
    def source_name(self) -> str:
        """The documents' source column."""
        return self.source or self.name

    @property
    def package(self) -> tuple[str, str] | None:
        """Name and version of a ``package://`` source, None for any other."""
        match = _PACKAGE_URI.fullmatch(self.uri)
        return (match["name"], match["version"]) if match else None

    def document_settings(self) -> dict[str, Any]:
        """Every setting the documents depend on, as JSON: all but where they come from and their weight."""
        return self.model_dump(mode="json", exclude={"uri", "sha256", "weight"})


class NamedTokenizer(Settings):
    """Somebody else's vocabulary, with which the report of ours compares it."""

    name: str = Field(min_length=1, description="What the report calls it.")
    uri: str = Field(min_length=1, description="A path or URI as of a source; also of an archive that holds it.")
    sha256: str | None = Field(None, description="Of the file or archive; a package needs it.")
    file: str = Field(
        min_length=1,
        description="Its name, or its path in the archive: a tokenizer.json, .model, .tiktoken, or encoder.json with "
        "vocab.bpe beside it.",
    )
    pattern: Literal["gpt2", "gpt4", "llama3", "qwen"] = Field("gpt4", description=".tiktoken: how it cuts text.")


@dataclass(frozen=True)
class Catalogue:
    """The sources in the file's order, and the folder that relative paths in them start from.

    Attributes:
        sources: The sources.
        folder: Of the catalogue.
        tokenizers: Vocabularies to compare ours with.
        prompts: Beginnings, by language, of the samples that models of this text write.
    """

    sources: tuple[Source, ...]
    folder: Path
    tokenizers: tuple[NamedTokenizer, ...] = ()
    prompts: Mapping[str, list[str]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Source:
        """The source of that name.

        Raises:
            CatalogueError: If there is none, with the nearest name.
        """
        for source in self.sources:
            if source.name == name:
                return source
        raise CatalogueError(f"no source '{name}', {nearest(name, [source.name for source in self.sources])}")


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping: YAML would keep the second, such as a source whose '-' is lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                problem = f"the key '{key.value}' stands there twice; remove one, or begin the second source with '-'"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_KEYS = ("sources", "tokenizers", "prompts")


def load_catalogue(path: Path) -> Catalogue:
    """Read and check a catalogue.

    Raises:
        CatalogueError: If the file is missing or is no YAML, or an entry is wrong; all wrong entries in one message.
    """
    try:
        content = _StrictLoader(path.read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError:
        raise CatalogueError(
            f"there is no catalogue at {path}; set CORPUSLINE_SOURCES to the YAML file that lists your sources"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CatalogueError(f"{path} cannot be read as YAML: {error}") from None
    if not isinstance(content, Mapping) or not isinstance(content.get("sources"), list) or not content["sources"]:
        raise CatalogueError(f"{path}: write a list under the key 'sources', with an entry for each source")
    for key in content:
        if key not in _KEYS:
            raise CatalogueError(f"{path}: unknown key '{key}', {nearest(str(key), list(_KEYS))}")
    sources: list[Source] = []
    mistakes: list[str] = []
    tokenizers = _tokenizers(content.get("tokenizers") or [], path, mistakes)
    for number, entry in enumerate(content["sources"], start=1):
        try:
            sources.append(_parse_entry(entry, number, path))
        except SettingsError as error:
            mistakes.append(str(error))
    seen: dict[str, str] = {}
    for source in sources:
        # Folder names differ only in case on some file systems: 'News' and 'news' would be one folder.
        folded = source.name.casefold()
        if folded in seen:
            mistakes.append(f"{path}: two sources are named '{seen[folded]}' and '{source.name}'; rename one")
        seen[folded] = source.name
    if mistakes:
        raise CatalogueError("\n".join(mistakes))
    return Catalogue(tuple(sources), path.absolute().parent, tokenizers, _prompts(content.get("prompts") or {}, path))


def _tokenizers(entries: Any, path: Path, mistakes: list[str]) -> tuple[NamedTokenizer, ...]:
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise CatalogueError(f"{path}: 'tokenizers' is a list of entries with 'name', 'uri' and 'file'")
    found = []
    for number, entry in enumerate(entries, start=1):
        try:
            found.append(NamedTokenizer.parse(entry, origin=f"{path}, tokenizer {number}"))
        except SettingsError as error:
            mistakes.append(str(error))
    names = [tokenizer.name for tokenizer in found]
    mistakes += [f"{path}: two tokenizers are named '{name}'" for name in sorted(set(names)) if names.count(name) > 1]
    return tuple(found)


def _prompts(entries: Any, path: Path) -> dict[str, list[str]]:
    try:
        return TypeAdapter(dict[str, list[str]]).validate_python(entries, strict=True)
    except ValidationError:
        raise CatalogueError(
            f'{path}: \'prompts\' names beginnings of samples by language, such as zh: ["从前", "有一天"]'
        ) from None


def _parse_entry(entry: Any, number: int, path: Path) -> Source:
    if not isinstance(entry, Mapping):
        raise SettingsError(f"{path}: source {number} is no mapping; write 'name:', 'uri:' and the rest below each '-'")
    label = f"source '{entry['name']}'" if isinstance(entry.get("name"), str) else f"source {number}"
    return Source.parse(entry, origin=f"{path}, {label}")
