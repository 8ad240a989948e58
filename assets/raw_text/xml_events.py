"""XML as these formats use it, read by expat without any entity of the document's own.

An entity that a document declares is how a small file unpacks to gigabytes ("billion laughs") or reads another file;
none of the formats here needs one, so a declaration is an error. External DTDs are named by many files and never
fetched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat


class XmlError(ValueError):
    """The bytes are no well-formed XML, or declare an entity."""


@dataclass
class Element:
    """An element without its place in the tree.

    Attributes:
        name: Local name, without the namespace.
        attributes: By local name.
        text: Its own text, without its children's.
    """

    name: str
    attributes: dict[str, str]
    text: str = field(default="")


def create_parser() -> expat.XMLParserType:
    """An expat parser that gives text in one piece and raises ``XmlError`` where the document declares an entity."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.EntityDeclHandler = _refuse_entity
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    return parser


def parse_block(parser: expat.XMLParserType, data: bytes, *, final: bool) -> None:
    """Give a parser the next bytes.

    Raises:
        XmlError: If they are not well-formed, declare an entity or an encoding that expat does not know.
    """
    try:
        parser.Parse(data, final)
    except XmlError:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:
        # Of an unknown encoding Python complains with a LookupError, of one like GBK with a ValueError.
        raise XmlError(str(error)) from None


def local_name(name: str) -> str:
    """The name without its namespace prefix."""
    return name.rpartition(":")[2]


def read_elements(data: bytes) -> list[Element]:
    """All elements of a small document in the order in which they begin.

    Raises:
        XmlError: If it is not well-formed or declares an entity.
    """
    elements: list[Element] = []
    open_elements: list[Element] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        element = Element(local_name(name), {local_name(key): value for key, value in attributes.items()})
        elements.append(element)
        open_elements.append(element)

    def characters(text: str) -> None:
        open_elements[-1].text += text

    parser = create_parser()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: open_elements.pop()
    parser.CharacterDataHandler = characters
    parse_block(parser, data, final=True)
    return elements


def _refuse_entity(name: str, *declaration: object) -> NoReturn:
    raise XmlError(f"declares the entity '{name}'")
