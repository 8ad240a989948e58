from __future__ import annotations

from datetime import date
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from assets.clean_text.masking import mask
from assets.clean_text.personal_data import passes_luhn

PERSONAL = ("email", "phone", "identity_card", "bank_card", "ip_address")


def masked(text: str, *kinds: str) -> str:
    return str(mask(pa.array([text], pa.string()), kinds=kinds or PERSONAL).texts[0].as_py())


def identity_card(first: str) -> str:
    """The check character by the definition of ISO 7064 MOD 11-2: the remainder of all 18 is 1."""
    remainder = 0
    for digit in first:
        remainder = (remainder + int(digit)) * 2 % 11
    check = (12 - remainder) % 11
    return first + ("X" if check == 10 else str(check))


def luhn(first: str) -> str:
    total = sum(
        sum(divmod(int(digit) * 2, 10)) if index % 2 == 0 else int(digit) for index, digit in enumerate(first[::-1])
    )
    return first + str(-total % 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to bob.smith+news@mail.example.co.uk.", "Write to <EMAIL>."),
        ("我的邮箱是zhang_3@163.com，谢谢", "我的邮箱是<EMAIL>，谢谢"),
        ("邮箱：ｚｈａｎｇ＠１６３．ｃｏｍ", "邮箱：<EMAIL>"),
        ("<a@b.io>, (c@d.org); e@f.com-", "<<EMAIL>>, (<EMAIL>); <EMAIL>-"),
        ("...x@y.com", "...<EMAIL>"),
        ("a@b.com,c@d.com a@b.com@c.com", "<EMAIL>,<EMAIL> <EMAIL>"),
    ],
)
def test_email(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text", ["@dataclass", "user@localhost", "logo@2x.png", "pkg@1.2.3", "a @ b.com", "@scope/package.js", "五@六.七"]
)
def test_not_email(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("手机号：13812345678。", "手机号：<PHONE>。"),
        ("手机１３８１２３４５６７８。", "手机<PHONE>。"),
        ("加微信138-1234-5678或139 8765 4321", "加微信<PHONE>或<PHONE>"),
        ("+86 13812345678，(+86)138-1234-5678，008613812345678", "<PHONE>，<PHONE>，<PHONE>"),
        ("13812345678、13912345678/13712345678", "<PHONE>、<PHONE>/<PHONE>"),
        ("010-62345678，(021) 6234-5678，（0755）8234567，0571-87654321转8001", "<PHONE>，<PHONE>，<PHONE>，<PHONE>"),
        ("01062345678", "<PHONE>"),
        ("客服400-810-1234", "客服<PHONE>"),
        ("电话：62345678 联系电话 6234-5678", "电话：<PHONE> 联系电话 <PHONE>"),
        ("Call (650) 253-0000, 650-253-0000 or 1.650.253.0000 ext 12.", "Call <PHONE>, <PHONE> or <PHONE>."),
        ("+44 20 7946 0958; +49 (30) 901820; +33 1 23 45 67 89", "<PHONE>; <PHONE>; <PHONE>"),
        ("020 7946 0958, 030/901820 12, 01 23 45 67 89", "<PHONE>, <PHONE> 12, <PHONE>"),
        (
            "Tel. 555 1234, phone number: 5551234, WhatsApp 5551234",
            "Tel. <PHONE>, phone number: <PHONE>, WhatsApp <PHONE>",
        ),
        ("650\u2011253\u20110000", "<PHONE>"),
        ("75001 01.23.45.67.89, 01 23 45 67 89 75001 Paris", "75001 <PHONE>, <PHONE> 75001 Paris"),
        ("Phone Number: 5551234567, Tel. No. 62345678", "Phone Number: <PHONE>, Tel. No. <PHONE>"),
        ("MOBILE NUMBER 9876543210; Fax No: 5551234", "MOBILE NUMBER <PHONE>; Fax No: <PHONE>"),
        ("手机号136134462，手機為：12345678", "手机号<PHONE>，手機為：<PHONE>"),
    ],
)
def test_phone(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "from 1990-1995 to 2001-2010, on 2024-01-02 at 12:30:45",
        "打电话08/1/04 1:30，电话 2007-12-5 10:30",
        "Tel Aviv 1990-1995, phone 2019-12-31",
        "ISBN 978-7-111-54742-6, 978 0 306 40615 7, 0-306-40615-2; phone 9787111547426",
        "$13812345678, ¥13812345678, 13812345678元, 13812345678.50, 17179869184 bytes",
        "1,234,567,890 and 12345678 and 1234567890123",
        "v1.2.3.4567, 2.10.2024.1234",
        "a13812345678b, id_13812345678, x/13812345678, ?id=13812345678",
        "12138123456789, 12-650-253-0000, 11012345678",
        "订单号 20240102123456，二〇二四年",
        "one phone, 12 of them in 2024",
        "手机价位2000-3000左右，手机销量12345678台，电话费1000-2000",
        "am 03.05.21 10.30 Uhr, 07-15 12-30-45",
        "48 01 02 03 04 05 06 07, 00 05 12 19 23 31",
        "pp. 212-255 1984, 345-678 2019",
    ],
)
def test_not_phone(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"身份证号{identity_card('11010119900307001')}。", "身份证号<IDENTITY_CARD>。"),
        (
            "身份证："
            + identity_card("44030019991231101")[:6]
            + " 19991231 "
            + identity_card("44030019991231101")[14:],
            None,
        ),
        ("身份证号码：110101900307001", "身份证号码：<IDENTITY_CARD>"),
        ("ID card 110101900307001", "ID card <IDENTITY_CARD>"),
        ("110101900307001", "110101900307001"),
        ("身份证：110101901307001", "身份证：110101901307001"),
        (identity_card("11010119900230001"), identity_card("11010119900230001")),
        (identity_card("10010119900307001"), identity_card("10010119900307001")),
        (f"a{identity_card('11010119900307001')}", f"a{identity_card('11010119900307001')}"),
    ],
)
def test_identity_card(text: str, expected: str | None) -> None:
    assert masked(text, "identity_card") == (expected or "身份证：<IDENTITY_CARD>")


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["11", "31", "44", "65", "82"]),
    st.dates(date(1900, 1, 1), date(2099, 12, 31)),
    st.integers(0, 9999),
    st.integers(0, 999),
    st.integers(0, 16),
    st.integers(1, 9),
)
def test_one_digit_decides_on_an_identity_card(
    province: str, born: date, county: int, order: int, position: int, change: int
) -> None:
    number = identity_card(f"{province}{county:04}{born:%Y%m%d}{order:03}")
    assert masked(f"号码{number}，", "identity_card") == "号码<IDENTITY_CARD>，"
    assert masked(f"号码{number.lower()}，", "identity_card") == "号码<IDENTITY_CARD>，"
    wrong = number[:position] + str((int(number[position]) + change) % 10) + number[position + 1 :]
    assert masked(f"号码{wrong}，", "identity_card") == f"号码{wrong}，"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("card 4111 1111 1111 1111 12/27", "card <BANK_CARD> 12/27"),
        ("card 4111-1111-1111-1111.", "card <BANK_CARD>."),
        ("卡号4111111111111111，", "卡号<BANK_CARD>，"),
        ("3782 822463 10005", "<BANK_CARD>"),
        (f"银行卡{luhn('622202100011223344')}开户行", "银行卡<BANK_CARD>开户行"),
        ("6222 0210 0011 2233 " + luhn("622202100011223344")[16:], "<BANK_CARD>"),
        ("6222 0210 0011 2233 44", "6222 0210 0011 2233 44"),
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("4111 1111-1111 1111", "4111 1111-1111 1111"),
        ("0 4111 1111 1111 1111,4111111111111111", "0 <BANK_CARD>,<BANK_CARD>"),
        ("0-4111-1111-1111-1111", "0-4111-1111-1111-1111"),
        (luhn("177711111111111"), luhn("177711111111111")),
        (luhn("97801112223334445"), luhn("97801112223334445")),
    ],
)
def test_bank_card(text: str, expected: str) -> None:
    assert masked(text, "bank_card") == expected


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(
        [("4", 16), ("4", 13), ("51", 16), ("2221", 16), ("34", 15), ("6011", 16), ("3530", 16), ("62", 19)]
    ),
    st.text("0123456789", min_size=20, max_size=20),
    st.integers(0, 17),
    st.integers(1, 9),
)
def test_one_digit_decides_on_a_bank_card(issuer: tuple[str, int], digits: str, position: int, change: int) -> None:
    prefix, length = issuer
    number = luhn((prefix + digits)[: length - 1])
    assert masked(f"卡{number}.", "bank_card") == "卡<BANK_CARD>."
    position %= length
    wrong = number[:position] + str((int(number[position]) + change) % 10) + number[position + 1 :]
    assert not passes_luhn(wrong)
    assert masked(f"卡{wrong}.", "bank_card") == f"卡{wrong}."
    if length == 16:
        grouped = " ".join(number[index : index + 4] for index in range(0, 16, 4))
        assert masked(f"{grouped} {digits[0]}x", "bank_card") == f"<BANK_CARD> {digits[0]}x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from 93.184.216.34:8080, and 8.8.4.40.", "from <IP_ADDRESS>:8080, and <IP_ADDRESS>."),
        (
            "来自 2606:4700:4700::1111 的访问，ＩＰ９３．１８４．２１６．３４",
            "来自 <IP_ADDRESS> 的访问，ＩＰ９３．１８４．２１６．３４",
        ),
        ("地址９３．１８４．２１６．３４。", "地址<IP_ADDRESS>。"),
        ("http://93.184.216.34/x", "http://<IP_ADDRESS>/x"),
        ("2a00:1450:4001:0829:0000:0000:0000:200e", "<IP_ADDRESS>"),
    ],
)
def test_ip_address(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1 192.168.1.10 10.20.30.40 172.16.254.1 0.0.0.0 255.255.255.255",
        "sections 1.2.3.4, 13.7.1.4 and 11.2.3.4, OID 2.5.29.14",
        "version 93.184.216.34, v93.184.216.34, 版本93.184.216.34",
        "93.184.216.34.5 93.184.216 93.184.216.256 1.93.184.216.34",
        "2001:db8::1 fe80::1 ::1 std::vector 2000:x 12:30:45 2024:01:02",
    ],
)
def test_not_ip_address(text: str) -> None:
    assert masked(text) == text


@settings(max_examples=100, deadline=None)
@given(st.ip_addresses())
def test_only_public_addresses_are_masked(address: IPv4Address | IPv6Address) -> None:
    assume(address.version == 4 or address in IPv6Network("2000::/3"))
    masks = address.is_global and (address.version == 6 or max(address.packed) >= 32)
    assert masked(f"at {address}, ") == ("at <IP_ADDRESS>, " if masks else f"at {address}, ")
