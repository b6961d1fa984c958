"""SSH signatures and the list of who may sign: what is believed, and every way in which it is not."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from hypothesis import given
from hypothesis import strategies as st

from reconciler.signatures import SIGNATURE_MAX, BadSignature, fingerprint, signed_by
from reconciler.signers import allowed, parse_signers
from tests.make import MONDAY
from tests.make_signatures import an_ed25519, armoured, blob_of, public, signed, string

APPROVAL = "licence-approval"
PAYLOAD = b"tenant contoso\nrequest LR-AAAA\n"
ADA, BOB = an_ed25519(1), an_ed25519(2)
ALLOWED = {"ada@contoso.example": (public(ADA),), "bob@contoso.example": (public(BOB),)}


@pytest.mark.parametrize(
    "key",
    [ADA, *(ec.generate_private_key(c()) for c in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1))],
    ids=["ed25519", "p256", "p384", "p521"],
)
@pytest.mark.parametrize("hash_name", ["sha256", "sha512"])
def test_a_signature_names_whose_key_made_it(key, hash_name):
    who = {"ada@contoso.example": (public(key, "a comment"),), "bob@contoso.example": (public(BOB),)}

    assert signed_by(PAYLOAD, signed(key, PAYLOAD, APPROVAL, hash_name=hash_name), who, APPROVAL) == (
        "ada@contoso.example"
    )


def test_rsa_is_accepted_with_sha2_and_from_2048_bits_on():
    fine, short = (rsa.generate_private_key(65537, bits) for bits in (2048, 1024))
    who = {"ada@contoso.example": (public(fine), public(short))}

    assert signed_by(PAYLOAD, signed(fine, PAYLOAD, APPROVAL), who, APPROVAL) == "ada@contoso.example"
    with pytest.raises(BadSignature, match="1024 bits is too short"):
        signed_by(PAYLOAD, signed(short, PAYLOAD, APPROVAL), who, APPROVAL)
    old = signed(fine, PAYLOAD, APPROVAL, kind=b"ssh-rsa", value=fine.sign(PAYLOAD, padding.PKCS1v15(), SHA1()))
    with pytest.raises(BadSignature, match="another method"):
        signed_by(PAYLOAD, old, who, APPROVAL)


def test_a_good_signature_by_somebody_who_is_not_listed_is_nobodys():
    assert signed_by(PAYLOAD, signed(an_ed25519(3), PAYLOAD, APPROVAL), ALLOWED, APPROVAL) is None
    assert signed_by(PAYLOAD, signed(ADA, PAYLOAD, APPROVAL), {}, APPROVAL) is None


def test_a_key_that_two_people_have_is_nobodys():
    both = {"ada@contoso.example": (public(ADA),), "eve@contoso.example": (public(ADA),)}

    assert signed_by(PAYLOAD, signed(ADA, PAYLOAD, APPROVAL), both, APPROVAL) is None


GOOD = signed(ADA, PAYLOAD, APPROVAL)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begin with"),
        ("hello", "begin with"),
        (GOOD.replace("BEGIN SSH", "BEGIN PGP"), "begin with"),
        (GOOD.replace(GOOD.splitlines()[1], "%%%"), "not base64"),
        ("\n".join([*GOOD.splitlines()[:-2], GOOD.splitlines()[-1]]), "ends too early|not base64"),
        (armoured(b"SSHSIG"), "ends too early"),
        (armoured(b"SSHSIG\x00\x00\x00\x01\xff\xff\xff\xff"), "ends too early"),
        (armoured(b"GPGSIG" + b"\x00" * 40), "does not begin"),
        (signed(ADA, PAYLOAD, APPROVAL, version=2), "version"),
        (signed(ADA, PAYLOAD, APPROVAL, tail=b"x"), "follows its end"),
        (signed(ADA, PAYLOAD, "git"), "made for 'git'"),
        (signed(ADA, PAYLOAD, "licence-configuration"), "sign with -n licence-approval"),
        (signed(ADA, PAYLOAD + b" ", APPROVAL), "not over these bytes"),
        (signed(ADA, PAYLOAD.replace(b"LR", b"lr"), APPROVAL), "not over these bytes"),
        (signed(ADA, PAYLOAD, APPROVAL, blob=blob_of(BOB)), "not by the key"),  # forged: Bob's key, Ada's hand
        (signed(ADA, PAYLOAD, APPROVAL, value=b"\x00" * 64), "not over these bytes"),
        (signed(ADA, PAYLOAD, APPROVAL, value=b""), "not over these bytes"),
        (signed(ADA, PAYLOAD, APPROVAL, kind=b"ssh-rsa"), "another method"),
        (signed(ADA, PAYLOAD, APPROVAL, hash_name="sha1"), "sha256 nor sha512"),
        (signed(ADA, PAYLOAD, APPROVAL, blob=string(b"sk-ssh-ed25519@openssh.com") + b"x"), "security token"),
        (signed(ADA, PAYLOAD, APPROVAL, blob=string(b"ssh-dss") + b"x"), "'ssh-dss' are not accepted"),
        (signed(ADA, PAYLOAD, APPROVAL, blob=string(b"ssh-ed25519-cert-v01@openssh.com")), "are not accepted"),
        (signed(ADA, PAYLOAD, APPROVAL, blob=string(b"ssh-ed25519") + string(b"x" * 31)), "damaged"),
        (signed(ADA, PAYLOAD, APPROVAL, blob=string(b"\xff" * 3000)), "are not accepted"),
        (armoured(b"SSHSIG" + b"\x00\x00\x00\x01" + b"\x00" * 100_000), "too long"),
        ("A" * (SIGNATURE_MAX + 1), "too long"),
    ],
)
def test_what_is_forged_damaged_or_for_something_else_is_refused_in_a_sentence(text, words):
    with pytest.raises(BadSignature, match=words) as refused:
        signed_by(PAYLOAD, text, ALLOWED, APPROVAL)

    assert len(str(refused.value)) < 200


@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_are_a_signature_or_a_defect(noise, is_begun):
    with pytest.raises(BadSignature):
        signed_by(PAYLOAD, armoured((b"SSHSIG\x00\x00\x00\x01" if is_begun else b"") + noise), ALLOWED, APPROVAL)


@given(st.integers(0, 200), st.integers(1, 255))
def test_one_changed_byte_anywhere_spoils_it(place, change):
    import base64

    body = bytearray(base64.b64decode("".join(GOOD.splitlines()[1:-1])))
    body[place % len(body)] ^= change

    try:
        who = signed_by(PAYLOAD, armoured(bytes(body)), ALLOWED, APPROVAL)
    except BadSignature:
        who = None
    assert who is None


# --- who may sign ---------------------------------------------------------------------------------------------------


def test_a_list_of_signers_says_who_may_sign_what_and_until_when():
    text = f"""
# people of the licence desk
ada@contoso.example namespaces="licence-approval,licence-*" {public(ADA, "ada")}
Bob@Contoso.Example namespaces="{APPROVAL}",valid-after="20261101",valid-before="202611021200Z" {public(BOB)}
"""
    signers = parse_signers(text)

    assert set(allowed(signers, APPROVAL, MONDAY)) == {"ada@contoso.example", "bob@contoso.example"}
    assert set(allowed(signers, "licence-configuration", MONDAY)) == {"ada@contoso.example"}
    assert set(allowed(signers, "git", MONDAY)) == set()
    noon = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
    assert set(allowed(signers, APPROVAL, noon)) == {"ada@contoso.example"}  # expired at this very instant
    assert set(allowed(signers, APPROVAL, noon - timedelta(days=2))) == {"ada@contoso.example"}
    assert set(allowed(signers, APPROVAL, MONDAY, ["BOB@contoso.example"])) == {"bob@contoso.example"}
    assert parse_signers("\n".join(s.line() for s in signers)) == signers


def test_a_signature_by_an_expired_signer_is_nobodys():
    signers = parse_signers(f'ada@contoso.example valid-before="20261101Z" {public(ADA)}')

    who = signed_by(PAYLOAD, GOOD, allowed(signers, APPROVAL, MONDAY), APPROVAL)

    assert who is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ada@contoso.example", "options as"),
        (f"*@contoso.example {public(ADA)}", "without"),
        (f"ada@contoso.example cert-authority {public(ADA)}", "list the key of each person"),
        (f'ada@contoso.example namespaces="x",no-touch {public(ADA)}', "'no-touch' is not known"),
        (f'ada@contoso.example valid-after="tomorrow" {public(ADA)}', "'tomorrow' is no instant"),
        (f'ada@contoso.example valid-after="20261399" {public(ADA)}', "is no instant"),
        ("ada@contoso.example ssh-ed25519 AAAA", "no public key"),
        ("ada@contoso.example ssh-ed25519 %%%", "no public key"),
        (f"ada@contoso.example sk-ssh-ed25519@openssh.com {public(ADA).split()[1]}", "no public key"),
        (f"ada@contoso.example {public(ADA)}\neve@contoso.example {public(ADA)}", "line 2: one key belongs to one"),
        (f"ada@contoso.example,eve@contoso.example {public(ADA)}", "one key belongs to one person"),
        ("x" * 300_000, "is refused"),
    ],
)
def test_a_list_that_says_something_else_is_refused_with_its_line(line, words):
    with pytest.raises(ValueError, match=words):
        parse_signers(line)


# --- the real tool --------------------------------------------------------------------------------------------------

KEYGEN = shutil.which("ssh-keygen")
needs_ssh = pytest.mark.skipif(KEYGEN is None, reason="ssh-keygen is not installed here")


@needs_ssh
@pytest.mark.parametrize("kind", [["ed25519"], ["ecdsa", "-b", "384"], ["rsa", "-b", "2048"]], ids=lambda k: k[0])
def test_what_ssh_keygen_signs_is_believed(tmp_path: Path, kind: list[str]):
    key, message = tmp_path / "key", tmp_path / "message"
    message.write_bytes(PAYLOAD)
    subprocess.run([KEYGEN, "-q", "-t", *kind, "-N", "", "-f", key], check=True, timeout=60)
    subprocess.run(
        [KEYGEN, "-Y", "sign", "-f", key, "-n", APPROVAL, message], check=True, timeout=60, capture_output=True
    )
    line = key.with_suffix(".pub").read_text()
    text = (tmp_path / "message.sig").read_text()

    who = allowed(parse_signers(f'ada@contoso.example namespaces="{APPROVAL}" {line}'), APPROVAL, MONDAY)

    assert signed_by(PAYLOAD, text, who, APPROVAL) == "ada@contoso.example"
    shown = subprocess.run([KEYGEN, "-l", "-f", key], check=True, timeout=60, capture_output=True, text=True).stdout
    assert fingerprint(line) in shown
    with pytest.raises(BadSignature):
        signed_by(PAYLOAD + b"\n", text, who, APPROVAL)


@needs_ssh
def test_ssh_keygen_believes_what_the_tests_sign(tmp_path: Path):
    (tmp_path / "signers").write_text(f"ada@contoso.example {public(ADA)}\n")
    (tmp_path / "sig").write_text(GOOD)
    verify = [KEYGEN, "-Y", "verify", "-f", tmp_path / "signers", "-I", "ada@contoso.example", "-n", APPROVAL]

    done = subprocess.run([*verify, "-s", tmp_path / "sig"], input=PAYLOAD, timeout=60, capture_output=True)

    assert done.returncode == 0
