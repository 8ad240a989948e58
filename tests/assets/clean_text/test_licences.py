from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.clean_text.licences import (
    FAMILIES,
    LICENCES,
    check_allowed,
    licence_allowed,
    licence_families,
    licence_family,
    normal_licence,
    normal_licences,
)


def array(*names: str | None) -> pa.StringArray:
    return pa.array(list(names), pa.string())


@pytest.mark.parametrize(
    ("identifier", "names"),
    [
        ("cc-by-4.0", "CC BY 4.0|cc-by-4.0|CC_BY_4.0|Creative Commons Attribution 4.0 International License|CC BY v4"),
        ("cc-by-4.0", "https://creativecommons.org/licenses/by/4.0/|http://www.creativecommons.org/licenses/by/4.0"),
        ("cc-by-sa-3.0", "CC BY-SA 3.0|Creative Commons Attribution-ShareAlike 3.0 Unported|cc-by-sa-3.0|CCBYSA3.0"),
        ("cc-by-sa-4.0", "知识共享 署名-相同方式共享 4.0 国际|創用CC 姓名標示-相同方式分享 4.0"),
        ("cc-by-nc-sa-4.0", "CC BY-NC-SA 4.0|知识共享署名-非商业性使用-相同方式共享 4.0|by-nc-sa 4.0"),
        ("cc-by-nc-nd-2.5", "CC-BY-NC-ND-2.5|Creative Commons Attribution-NonCommercial-NoDerivs 2.5"),
        ("cc-by-3.0", "CC BY 3.0 US|https://creativecommons.org/licenses/by/3.0/deed.zh|Attribution 3.0 Unported"),
        ("cc-by", "CC BY|Creative Commons Attribution"),
        ("cc0-1.0", "CC0|CC0-1.0|CC0 1.0|cc zero|CC0 1.0 Universal|https://creativecommons.org/publicdomain/zero/1.0/"),
        ("public-domain", "public domain|Public Domain|PD|公有领域|public-domain|Public Domain Mark 1.0"),
        ("mit", "MIT|MIT License|The MIT Licence|expat"),
        ("apache-2.0", "Apache 2.0|Apache License, Version 2.0|Apache-2.0|apache"),
        ("bsd-3-clause", "BSD-3-Clause|BSD 3-Clause License|New BSD"),
        ("gpl-3.0", "GPLv3|GPL-3.0|GNU General Public License v3.0|gpl-3.0-only|GPL-3.0-or-later"),
        ("odc-by-1.0", "ODC-By|odc-by-1.0|ODC-BY 1.0"),
        ("gfdl-1.3", "GFDL|GNU Free Documentation License 1.3"),
        ("ogl-uk-3.0", "OGL v3.0|Open Government Licence v3.0"),
        ("mulanpsl-2.0", "MulanPSL-2.0|Mulan PSL v2"),
        ("all-rights-reserved", "All rights reserved"),
        ("unknown", "|  |unknown|UNKNOWN"),
    ],
)  # fmt: skip
def test_one_name_for_each(identifier: str, names: str) -> None:
    assert {name: normal_licence(name) for name in names.split("|")} == dict.fromkeys(names.split("|"), identifier)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("CC BY 4.0", "permissive"),
        ("cc0", "permissive"),
        ("Public domain", "permissive"),
        ("MIT", "permissive"),
        ("CC BY-SA 4.0", "share-alike"),
        ("GPLv2", "share-alike"),
        ("CC BY-NC 4.0", "non-commercial"),
        ("CC BY-NC-SA 4.0", "non-commercial"),
        ("CC BY-ND 4.0", "no-derivatives"),
        ("CC BY-NC-ND 4.0", "no-derivatives"),
        ("All rights reserved", "unknown"),
        ("", "unknown"),
        ("permitted by none", "unknown"),
        ("bylaws", "unknown"),
        ("by us", "unknown"),
        ("CC BY 4.0 NC", "unknown"),
        ("CC BY 4.0 for research only", "unknown"),
        ("CC BY-NC 4.0 or so", "unknown"),
        ("limit", "unknown"),
    ],
)
def test_families(name: str, family: str) -> None:
    assert licence_family(name) == family


def test_every_known_name_is_its_own() -> None:
    assert {name: normal_licence(name) for name in LICENCES} == {name: name for name in LICENCES}
    assert {licence_family(name) for name in LICENCES} == {"permissive", "share-alike"}


WORDS = ["cc", "by", "nc", "nd", "sa", "4.0", "mit", "the", "license", "署名", "-", "v3", "gpl", "deed", "us"]


@settings(max_examples=300, deadline=None)
@given(st.text() | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_a_normal_name_is_stable(name: str) -> None:
    once = normal_licence(name)
    assert licence_family(once) == licence_family(name)
    assert licence_family(name) in FAMILIES
    assert normal_licence(once) == once or licence_family(name) == "unknown"


def test_allowed() -> None:
    licences = array("CC BY 4.0", "cc-by-sa-3.0", None, "MIT", "CC BY-NC 4.0", "secret", "CC BY 4.0")
    assert licence_allowed(licences, ["permissive"]).to_pylist() == [True, False, False, True, False, False, True]
    assert licence_allowed(licences, ["CC BY-SA"]).to_pylist() == [False, True, False, False, False, False, False]
    assert licence_allowed(licences, ["cc-by-3.0"]).to_pylist() == [False] * 7
    assert licence_allowed(licences, ["MIT License", "unknown"]).to_pylist() == [
        False,
        False,
        True,
        True,
        False,
        True,
        False,
    ]
    assert licence_allowed(licences, list(FAMILIES)).to_pylist() == [True] * 7
    assert licence_allowed(licences, []).to_pylist() == [False] * 7
    assert licence_allowed(array(), ["mit"]).to_pylist() == []


def test_a_mistyped_entry_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown licence or family 'permisive', did you mean 'permissive'"):
        licence_allowed(array("MIT"), ["permisive"])
    with pytest.raises(ValueError, match="apache-3"):
        check_allowed(["mit", "apache-3"])


def test_columns() -> None:
    names = array("MIT", None, "CC BY-SA 4.0", "MIT")[1:]
    assert normal_licences(names).to_pylist() == ["unknown", "cc-by-sa-4.0", "mit"]
    assert licence_families(names).to_pylist() == ["unknown", "share-alike", "permissive"]
