"""`reconciler tenants`: what there is, whether each can be served and is its own, and how one more is written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from reconciler.cli.main import run as command
from reconciler.config import load
from reconciler.config.sharing import shared
from reconciler.errors import UserError
from reconciler.wiring import open_app, open_store
from reconciler.wiring.keys import signer

TWO = """
[tenants.alpha]
mode = "observe"
[tenants.alpha.graph]
tenant_id = "11111111-1111-4111-8111-111111111111"
client_id = "22222222-2222-4222-8222-222222222222"
client_secret_file = "secret"
[tenants.alpha.servicenow]
instance = "https://alpha.service-now.com"
client_id = "oauth"
client_secret_file = "secret"

[tenants.beta]
sandbox = true
"""
ADD = [
    "--directory=33333333-3333-4333-8333-333333333333",
    "--client=44444444-4444-4444-8444-444444444444",
    "--instance=https://gamma.service-now.com",
    "--oauth-client=oauth",
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("hush", "utf-8")
    (tmp_path / "config.toml").write_text(TWO, "utf-8")
    return tmp_path / "config.toml"


@dataclass(frozen=True)
class Told:
    exit_code: int
    stdout: str
    stderr: str


Run = Callable[..., Told]


@pytest.fixture
def run(config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(config.parent / "var"))

    def tenants(*words: str) -> Told:
        capsys.readouterr()
        code = command(["--config", str(config), "tenants", *words])
        said = capsys.readouterr()
        return Told(code, said.out, said.err)

    return tenants


def test_tenants_are_listed_with_what_each_may_do(run):
    told = json.loads(run("list", "--output", "json").stdout)

    assert [(row["tenant"], row["mode"], row["directory"], row["last_cycle"]) for row in told] == [
        ("alpha", "observe", "11111111-1111-4111-8111-111111111111", None),
        ("beta", "observe", "sandbox", None),
    ]
    assert "alpha.service-now.com" in run("list").stdout


def test_one_that_cannot_be_served_does_not_keep_another_from_being_checked(config, run):
    config.write_text(TWO.replace("https://alpha.service-now.com", "https://127.0.0.1:1"), "utf-8")

    found = run("check", "beta", "--output", "json")

    told = json.loads(found.stdout)
    assert [row["tenant"] for row in told["tenants"]] == ["beta"]
    assert told["tenants"][0]["checks"] > 5
    assert told["shared"] == [
        {
            "tenants": ["alpha", "beta"],
            "what": "the key that signs the audit log; set tenants.NAME.keys.audit_file",
        }
    ]


def test_an_unknown_tenant_is_named_with_those_that_there_are(run):
    found = run("check", "delta")

    assert found.exit_code == 2
    assert "has no tenant 'delta'; it has alpha, beta" in found.stderr


def test_a_tenant_that_is_added_observes_with_keys_of_its_own(config, run):
    before = config.read_text("utf-8")

    added = run(
        "add", "gamma", *ADD, f"--client-secret-file={config.parent / 'secret'}",
        f"--servicenow-secret-file={config.parent / 'secret'}",
    )  # fmt: skip

    assert added.exit_code == 0, added.stderr
    assert config.read_text("utf-8").startswith(before.rstrip("\n"))
    settings = load(config, {"RECONCILER_STATE_DIR": str(config.parent / "var")})
    tenant = settings.tenants["gamma"]
    assert (tenant.mode, tenant.answers, tenant.guards.allow_users) == ("observe", "silent", ())
    keys = [tenant.keys.audit_file, tenant.keys.persons_file]
    assert all(file is not None and file.stat().st_mode & 0o777 == 0o600 for file in keys)
    assert tenant.keys.audit_file is not None
    assert load_pem_private_key(tenant.keys.audit_file.read_bytes(), None)
    verifiers = {str(signer(settings, name).verifier).rpartition("+")[2] for name in settings.tenants}
    assert len(verifiers) == 2  # alpha and beta use the installation's
    assert frozenset({"alpha", "gamma"}) in {who for who, _ in shared(settings)}  # one secret for two directories


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("alpha", ADD, "has a tenant 'alpha' already"),
        ("two words", ADD, "letters, digits, - and _ only"),
        ("gamma", [ADD[0].replace("3333", "xyz", 1), *ADD[1:]], "nothing was written: "),
        ("gamma", [*ADD, "--certificate-file=nowhere.pem"], "with --certificate-file or with --client-secret-file"),
    ],
)
def test_what_cannot_be_added_changes_nothing(config, run, name, words, sentence):
    secret = f"--client-secret-file={config.parent / 'secret'}"

    found = run("add", name, *words, secret, f"--servicenow-secret-file={config.parent / 'secret'}")

    assert found.exit_code == 2
    assert sentence in found.stderr
    assert config.read_text("utf-8") == TWO
    assert list(config.parent.glob("keys/*")) == []


def test_a_secret_that_is_not_there_is_told_and_nothing_is_written(config, run):
    found = run(
        "add", "gamma", *ADD, f"--client-secret-file={config.parent / 'absent'}",
        f"--servicenow-secret-file={config.parent / 'secret'}",
    )  # fmt: skip

    assert found.exit_code == 2
    assert "nothing was written: " in found.stderr
    assert "absent" in found.stderr
    assert config.read_text("utf-8") == TWO


def test_a_key_of_one_tenant_that_cannot_be_used_is_that_tenants_trouble_alone(config, run):
    (config.parent / "short").write_bytes(b"too short")
    config.write_text(TWO + '[tenants.alpha.keys]\npersons_file = "short"\n[audit]\npersons = "pseudonym"\n', "utf-8")
    settings = load(config, {"RECONCILER_STATE_DIR": str(config.parent / "var")})

    assert run("list").exit_code == 0
    assert run("check", "beta").exit_code == 0
    with open_store(settings) as database:
        with open_app(settings, "beta", database=database) as app:
            assert app.name == "beta"
        with (
            pytest.raises(UserError, match=r"tenants\.alpha\.keys\.persons_file: .* has to hold 32 random bytes"),
            open_app(settings, "alpha", database=database),
        ):
            pytest.fail("its persons would stand in the log as they are")
