"""Signed notes and checkpoints are C2SP's, so other people's tools read them; what was not signed is not believed."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from reconciler.audit import checkpoints
from reconciler.audit.chain import Head
from reconciler.audit.notes import BadNote, Signer, Verifier, opened
from tests.make import MONDAY

# The example of Go's golang.org/x/mod/sumdb/note, whose format C2SP wrote down.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SAID = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
KEY = Signer("license-reconciler/contoso", Ed25519PrivateKey.from_private_bytes(b"k" * 32))
OTHER = Signer("license-reconciler/contoso", Ed25519PrivateKey.from_private_bytes(b"o" * 32))
HEAD = Head("contoso", 12, "ab" * 32)


def test_a_note_that_go_signed_is_read():
    text, signers = opened(SAID, [Verifier.parse(PETER)])

    assert text.startswith("If you think")
    assert [str(v) for v in signers] == [PETER]


def test_a_checkpoint_is_the_text_of_the_specification_and_names_its_log():
    found = checkpoints.sign(KEY, HEAD, b"r" * 32, MONDAY)

    lines = found.note.split("\n")
    assert lines[:3] == ["license-reconciler/contoso", "12", base64.b64encode(b"r" * 32).decode()]
    assert lines[5] == ""
    assert lines[6].startswith("— license-reconciler/contoso ")
    assert checkpoints.checked(found.note, [Verifier.parse(str(KEY.verifier))]) == found
    assert len(found.note) < 400


def test_what_another_key_signed_or_nobody_is_refused():
    note = checkpoints.sign(OTHER, HEAD, b"r" * 32, MONDAY).note

    with pytest.raises(BadNote, match="none of the given keys"):
        checkpoints.checked(note, [KEY.verifier])
    with pytest.raises(BadNote, match="none of the given keys"):
        checkpoints.checked(note, [])


def test_a_key_of_another_log_does_not_sign_for_this_one():
    fabrikam = Signer("license-reconciler/fabrikam", KEY.private)
    text = checkpoints.sign(KEY, HEAD, b"r" * 32, MONDAY).note.rpartition("\n\n")[0] + "\n"

    with pytest.raises(BadNote, match="none of the given keys"):
        checkpoints.checked(fabrikam.sign(text), [KEY.verifier, fabrikam.verifier])


@given(st.integers(0, 300), st.sampled_from("0aZ9 \n—=+é"))
def test_any_changed_letter_of_a_checkpoint_is_found(place, letter):
    note = checkpoints.sign(KEY, HEAD, b"r" * 32, MONDAY).note
    forged = note[:place] + letter + note[place + 1 :]
    if forged == note or place >= len(note):
        return

    with pytest.raises(BadNote):
        checkpoints.checked(forged, [KEY.verifier])


@given(st.text())
def test_whatever_stands_in_a_file_is_refused_and_never_a_crash(text):
    for read in (checkpoints.read, lambda t: opened(t, [KEY.verifier]), Verifier.parse):
        with pytest.raises(BadNote):
            read(text)


def test_a_damaged_verifier_key_is_refused():
    with pytest.raises(BadNote, match="key id"):
        Verifier.parse(str(KEY.verifier).replace(KEY.verifier.key_id.hex(), "00000000"))
    with pytest.raises(BadNote, match="name of a key"):
        Signer("two words", KEY.private)


def test_checkpoints_are_read_from_a_note_and_from_json_lines():
    note = checkpoints.sign(KEY, HEAD, b"r" * 32, MONDAY).note
    lines = '{"note": ' + repr(note).replace("'", '"') + '}\n\n{"tenant": "x"}\n'

    assert checkpoints.notes_in(note) == [note]
    assert checkpoints.notes_in(note.replace("\n", "\r\n")) == [note]
    assert checkpoints.notes_in(lines) == [note]
    with pytest.raises(BadNote, match="no JSON"):
        checkpoints.notes_in("{\n")
