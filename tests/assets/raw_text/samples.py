"""Texts written for these tests, and the ways a file can be packed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping

import zstandard

CHINESE = (
    "清晨的码头还没有醒来，渔船一只挨着一只，随着水波轻轻摇动。老周坐在船头补网，手里的线走得又快又稳。\n"
    "“今天的风不大，”他对孙女说，“可以走远一点。”女孩点点头，把两个装满热水的瓶子放进篮子里。\n"
    "太阳升起来以后，海面由灰变蓝，再由蓝变成金色。他们没有说话，只听见发动机的声音和水鸟的叫声。\n"
)
TRADITIONAL = (
    "清晨的碼頭還沒有醒來，漁船一隻挨著一隻，隨著水波輕輕搖動。老周坐在船頭補網，手裡的線走得又快又穩。\n"
    "「今天的風不大，」他對孫女說，「可以走遠一點。」女孩點點頭，把兩個裝滿熱水的瓶子放進籃子裡。\n"
    "太陽升起來以後，海面由灰變藍，再由藍變成金色。他們沒有說話，只聽見機器的聲音和水鳥的叫聲。\n"
)
ENGLISH = (
    "The harbour was not awake yet. Boats lay side by side and nodded with the swell.\n"
    "Old Chow sat in the bow and mended a net; the thread ran quick and even through his hands.\n"
    "“There’s little wind today,” he said to the girl – “we can go a long way out.”\n"
)
FRENCH = (
    "Le port n'était pas encore réveillé. Les bateaux, serrés côte à côte, se balançaient à peine.\n"
    "Assis à l'avant, le vieux Michel réparait un filet ; sa main allait, légère et régulière.\n"
    "« Ça souffle peu aujourd'hui », dit-il à la fillette, « nous irons très loin, là où l'eau est bleue. »\n"
)

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lambda data: lzma.compress(data, preset=0),
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
ARCHIVES = (".zip", ".whl", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def compress(data: bytes, name: str) -> bytes:
    """The data as a file of this name would hold it: by the ending, or as it is."""
    for ending, function in COMPRESSIONS.items():
        if name.endswith(ending):
            return function(data)
    return data


def pack(members: Mapping[str, bytes], name: str) -> bytes:
    """An archive with the members, of the kind that its name says."""
    packed = io.BytesIO()
    if name.endswith((".zip", ".whl")):
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in members.items():
                archive.writestr(path, data)
        return packed.getvalue()
    tar = pack_tar([(entry(path, len(data)), data) for path, data in members.items()])
    return compress(tar, name.replace(".tgz", ".tar.gz"))


def entry(path: str, size: int = 0, *, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """A tar archive's header."""
    information = tarfile.TarInfo(path)
    information.size, information.type, information.linkname = size, kind, link
    return information


def pack_tar(entries: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """An uncompressed tar archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for information, data in entries:
            archive.addfile(information, io.BytesIO(data))
    return packed.getvalue()
