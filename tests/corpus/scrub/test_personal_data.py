"""E-mail addresses, telephone numbers and IP addresses: what is found, and what only looks like them."""

import pytest

from seedbed.corpus.scrub import find


def found(text: str, kind: str) -> list[str]:
    return [text[place.start : place.end] for name, place in find(text) if name == kind]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Write to jane.doe+news@mail.uni-heidelberg.de.", "jane.doe+news@mail.uni-heidelberg.de"),
        ("<x_1@foo.co.uk>", "x_1@foo.co.uk"),
        ("mailto:info@caf-solutions.com?subject=hi", "info@caf-solutions.com"),
        ("Contact bob@acme.org.Then wait", "bob@acme.org"),
        ("请联系wang@sina.com.cn。", "wang@sina.com.cn"),
        ("'o.k'@x.net or ok@x.net'", "ok@x.net"),
        ("JANE@ACME.COM, joe@ACME.com", "JANE@ACME.COM"),
    ],
)
def test_an_address_is_found_without_what_stands_beside_it(text: str, address: str) -> None:
    assert address in found(text, "email")
    assert all("@" in match and not match.endswith(".") for match in found(text, "email"))


@pytest.mark.parametrize(
    "text",
    [
        "@property\ndef weight(self): ...",
        "@app.route('/x')\n@functools.wraps(f)",
        "y = (a@b.T) @ self.w@self.scale.mean",
        "logits = x@w.to(device)",
        "z = q@k.it[0]",
        "git clone git@github.com:acme/tool.git",
        "scp data deploy@host.acme.com:/srv/data",
        "user@example.com, someone@mail.example.org, a@b.test, root@localhost",
        "lodash@4.17.21 and @babel/core@7.0.0",
        "follow @seedbed on x.com",
        "a" * 65 + "@acme.com",
        "$x@y.com \\cite@foo.de",
        "a..b@acme.com",
    ],
)
def test_decorators_products_of_matrices_and_examples_are_no_addresses(text: str) -> None:
    assert found(text, "email") == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("reach us: +49 (0) 6221 54-0123 today", "+49 (0) 6221 54-0123"),
        ("+1 415-555-2671", "+1 415-555-2671"),
        ("(+44 20 7946 0958)", "+44 20 7946 0958"),
        ("tel:+14155552671", "+14155552671"),
        ("+919876543210", "+919876543210"),
        ("Office (415) 555-2671, ask for Jo", "(415) 555-2671"),
        ("415-555-2671.", "415-555-2671"),
        ("Call 1-800-356-9377 now", "1-800-356-9377"),
        ("Tél. : 01 23 45 67 89", "01 23 45 67 89"),
        ("Telefon: 06221/540123", "06221/540123"),
        ("Fax 030 1234567", "030 1234567"),
        ("phone 415.555.2671", "415.555.2671"),
        ('"phone": "4155552671"', "4155552671"),
        ("Tel 0049 (0)30 123 456 78", "0049 (0)30 123 456 78"),
        ("电话:010 1234 5678", "010 1234 5678"),
    ],
)
def test_a_telephone_number_is_found_whole(text: str, number: str) -> None:
    assert found(text, "phone") == [number]


def test_numbers_beside_one_another_are_found_one_by_one() -> None:
    text = "+33 1 23 45 67 89 / +33 1 23 45 67 80, (415) 555-2671 (415) 555-2672, Tel: 912 345 678 Fax: 912 345 679"
    assert len(found(text, "phone")) == 6


@pytest.mark.parametrize(
    "text",
    [
        "between 1914-1918 and 1939-1945",
        "2026-11-21 13:45:00 +0100, 20261121T134500+0100",
        "call 21.11.2026",
        "1.5e+10, x +1.234567890 y, a + 4915112345678",
        "L_k+1 = L_k + 545140134",
        "ISBN 978-3-16-148410-0, ISBN 0-306-40615-2",
        "doi:10.1038/nature12373-415-555-2671",
        "123-456-7890 and 415-911-2671",  # no such area code; 911 is no exchange
        "212-555-0147",  # set aside for fiction
        "serial 415-555-26710, part 415-555-2671-9",
        "id = 4155552671; timestamp = 1700000000",
        "pi = 3.14159 26535 89793 23846 26433",
        "1 2 3 4 5 6 7 8 9\n4 5 6 7 8 9 1 2 3",
        "Call 1-800-565-EXIM",
        "arXiv:astro-ph/0511666, hep-ph/0309057",
        "Social security 078-05-1120",
        "f(415)555-2671x",
    ],
)
def test_dates_decimals_and_other_numbers_are_no_telephone_numbers(text: str) -> None:
    assert found(text, "phone") == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("from 85.214.132.117 port 22", "85.214.132.117"),
        ("http://85.214.132.117/x", "85.214.132.117"),
        ("DNS server 8.8.8.8.", "8.8.8.8"),
        ("9.9.9.9:53", "9.9.9.9"),
        ("resolver 2001:4860:4860::8888", "2001:4860:4860::8888"),
        ("[2a00:1450:4001:82a:0:0:0:200e]:443", "2a00:1450:4001:82a:0:0:0:200e"),
    ],
)
def test_a_public_address_is_found(text: str, address: str) -> None:
    assert found(text, "ip") == [address]


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1, 10.1.2.3, 192.168.1.10, 172.16.0.9, 169.254.1.1, 0.0.0.0, 255.255.255.255",  # not public
        "192.0.2.7, 198.51.100.7, 203.0.113.7, 2001:db8::1:2:3",  # RFC 5737 and 3849: for documentation
        "224.0.0.251",  # multicast
        "version 101.102.103.104, v101.1.1.1, release: 110.1.2.3",
        "Chrome/120.101.102.103 Safari/537.36",
        "upgrade to 4.2.1.3, see section 101.2.3.4",
        "1.2.3.4",  # says nothing of an address
        "OID 1.3.6.1.4.1.311",
        "300.101.102.103, 1.02.103.104, 101.102.103.104-beta, 101.102.103.104.5",
        "block 16.0.0.0/8, host 101.102.103.0/24, versions from 4.7 to 5.2.5.6",
        "112.1.2.3 Results and discussion",
        "std::vector<int>, a::b, x[2::3], 12:30:45, 00:1a:2b:3c:4d:5e, 2015:12:30, 2026::x",
    ],
)
def test_versions_sections_and_private_addresses_are_left(text: str) -> None:
    assert found(text, "ip") == []
