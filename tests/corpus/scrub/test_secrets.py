"""Keys and passwords. They are put together here from parts, so that nobody's scanner takes this file for a leak."""

import base64
import json
import random
import string

import pytest

from seedbed.corpus.scrub import find

DRAW = random.Random(1)
ALNUM = string.ascii_letters + string.digits


def random_text(size: int, alphabet: str = ALNUM) -> str:
    return "".join(DRAW.choice(alphabet) for _ in range(size))


def found(text: str, kind: str = "api_key") -> list[tuple[str, str]]:
    return [(place.what, text[place.start : place.end]) for name, place in find(text) if name == kind]


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


KEYS = [
    ("aws", "AKIA" + random_text(16, string.ascii_uppercase + "234567")),
    ("github", "ghp_" + random_text(36)),
    ("github", "github_pat_" + random_text(22) + "_" + random_text(59)),
    ("gitlab", "glpat-" + random_text(20)),
    ("slack", "xoxb-" + random_text(12, string.digits) + "-" + random_text(24)),
    ("stripe", "sk_live_" + random_text(24)),
    ("google", "AIza" + random_text(35)),
    ("google", "GOCSPX-" + random_text(28)),
    ("openai", "sk-" + random_text(48)),
    ("openai", "sk-proj-" + random_text(100, ALNUM + "_-") + "q7"),
    ("anthropic", "sk-ant-api03-" + random_text(93, ALNUM + "_-") + "AA"),
    ("hugging face", "hf_" + random_text(34, string.ascii_letters)),
    ("npm", "npm_" + random_text(36)),
    ("sendgrid", "SG." + random_text(22) + "." + random_text(43)),
    ("telegram", random_text(10, "123456789") + ":AA" + random_text(33)),
    ("jwt", part({"alg": "HS256", "typ": "JWT"}) + "." + part({"sub": "1234567890"}) + "." + random_text(43)),
]


@pytest.mark.parametrize(("issuer", "key"), KEYS, ids=[f"{issuer}-{key[:6]}" for issuer, key in KEYS])
@pytest.mark.parametrize("around", ["{}", "key = '{}'", "curl -H 'X: {}' https://x.y", "({})", "export K={}\n"])
def test_a_key_is_found_by_its_issuers_form(issuer: str, key: str, around: str) -> None:
    assert found(around.format(key)) == [(issuer, key)]


def test_a_longer_word_that_holds_a_keys_form_is_none() -> None:
    key = "AKIA" + "Q3ZT7MPLW2KX5RBN"
    assert found(key)
    assert found(f"X{key}") == found(f"{key}Y") == []


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE",  # AWS's own example
        "sk-" + "x" * 48,
        "ghp_" + "0" * 36,
        "sk-container-id-1 sk-toggleable__label-arrow sk-parallel-item-of-the-page",  # classes of scikit-learn's HTML
        "risk-management-and-task-scheduling-for-large-enterprises",
        "eyJhbGciOiJub25lIn0.notbase64.notsignature",
        part({"no": "algorithm"}) + "." + part({"a": 12345678}) + "." + "A" * 43,
    ],
)
def test_examples_and_names_are_no_keys(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('password = "aB3dE5fG7hJ9kL2m"', "aB3dE5fG7hJ9kL2m"),
        ("'api_key': 'f3a9c07be1d24586'", "f3a9c07be1d24586"),
        ("CLIENT_SECRET=q8Zr2LmW5xYt9BvN3kJd", "q8Zr2LmW5xYt9BvN3kJd"),
        ("auth_token: q8Zr2LmW5xYt9BvN3kJd\n", "q8Zr2LmW5xYt9BvN3kJd"),
        ('SECRET_KEY => "9f!kd82#mxA0qwe7"', "9f!kd82#mxA0qwe7"),
    ],
)
def test_a_random_value_with_a_telling_name_is_found(text: str, value: str) -> None:
    assert found(text) == [("assigned", value)]


@pytest.mark.parametrize(
    "text",
    [
        'token = "end_of_sentence_1"',
        'password = "your-password-here-1"',
        'secret = "changeme1234567890"',
        'api_key = os.environ["SERVICE_API_KEY_1"]',
        "token = get_token_from_service_2(user)",
        'sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"',  # a hash, no secret
        'id = "550e8400-e29b-41d4-a716-446655440000"',
        'password: "aaaaaaaaaaaaaaa1"',
        "monkey = 'q8Zr2LmW5xYt9BvN3kJd'",
    ],
)
def test_names_hashes_and_placeholders_are_left(text: str) -> None:
    assert found(text) == []


def test_a_password_in_a_url_goes_alone() -> None:
    text = (
        "postgres://bob:hunter2x@db.acme.com/x, https://user:password@acme.com, http://user:pass@web.com, "
        "http://u:${PASS}@acme.com, http://a.b:80/@x"
    )
    assert found(text) == [("password in a URL", "hunter2x")]
    assert found(text, "email") == []


def pem(name: str, lines: int) -> str:
    body = "\n".join(random_text(64, ALNUM + "+/") for _ in range(lines))
    return f"-----BEGIN {name}-----\n{body}\n-----END {name}-----"


@pytest.mark.parametrize("name", ["RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"])
def test_a_private_key_goes_whole_whatever_its_lines_end_with(name: str) -> None:
    key = pem(name, 12)
    for text in (key, key.replace("\n", "\\n"), key.replace("\n", "\n    "), key.replace("\n", '\\n"\n "')):
        assert [value for _, value in found(f"before {text} after", "private_key")] == [text]


def test_a_private_key_cut_short_goes_to_its_last_line() -> None:
    key = pem("RSA PRIVATE KEY", 12)
    cut = key[: len(key) // 2]
    ((_, value),) = found(cut + "\n\nNext chapter", "private_key")
    assert value.startswith(cut) and "chapter" not in value


@pytest.mark.parametrize(
    "text",
    [
        'if line == "-----BEGIN RSA PRIVATE KEY-----":\n    return "-----END RSA PRIVATE KEY-----"',
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nThe header says what follows, and this chapter is about what it says and to whom.",
        "-----BEGIN CERTIFICATE-----\n" + "A1b2" * 16 + "\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----\n" + "A1b2" * 16 + "\n-----END PUBLIC KEY-----",
    ],
)
def test_headers_in_programs_and_public_keys_are_left(text: str) -> None:
    assert found(text, "private_key") == []
