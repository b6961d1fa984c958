"""The configuration as it is shipped, and where its values come from."""

from __future__ import annotations

import re
import tomllib
from datetime import date, timedelta
from pathlib import Path

import pytest

import reconciler.config
from desired_state.model import Path as By
from reconciler.config import Settings, load
from reconciler.errors import UserError
from reconciler.wiring import open_app

ROOT = Path(__file__).parents[2]
PACKAGED = Path(reconciler.config.__file__).parent / "default.toml"
SANDBOX = "[tenants.contoso]\nsandbox = true\n"
REAL = """
[tenants.production]
[tenants.production.servicenow]
instance = "https://contoso.service-now.com"
client_id = "abc"
client_secret_file = "sn-secret"
our_groups = ["M365 Licence Desk"]
[tenants.production.graph]
tenant_id = "72F988BF-86F1-41AF-91AB-2D7CD011DB47"
client_id = "72f988bf-86f1-41af-91ab-2d7cd011db48"
client_secret_file = "graph-secret"
"""


@pytest.fixture
def written(tmp_path):
    def written(text: str) -> Path:
        file = tmp_path / "config.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return written


@pytest.fixture
def real(written, tmp_path):
    (tmp_path / "sn-secret").write_text("from-servicenow\n", encoding="utf-8")
    (tmp_path / "graph-secret").write_text("from-graph\n", encoding="utf-8")
    return written(REAL)


def test_the_packaged_configuration_is_the_one_at_the_root():
    assert PACKAGED.read_bytes() == (ROOT / "config.toml").read_bytes()


def test_the_shipped_configuration_is_the_sandbox_and_acts():
    settings = load(ROOT / "config.toml", {})

    contoso = settings.tenants["contoso"]
    assert contoso.sandbox
    assert (contoso.mode, contoso.answers, contoso.act_on_tickets_since) == ("enforce", "full", "all")
    assert [item.name for item in settings.items_for("contoso")] == [
        "Microsoft 365 licence",
        "Microsoft Project",
        "Software for a team",
    ]
    assert settings.catalogue().product("visio-plan-2").path is By.GROUP
    assert settings.catalogue().product("calling-plan-international").replaces == ("calling-plan-domestic",)


def test_the_commented_example_of_a_real_tenant_is_a_valid_configuration(tmp_path):
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    block = text[text.index("# [tenants.production]") :]
    lines = [re.sub(r"^# ?", "", line) for line in block.splitlines()]
    file = tmp_path / "config.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    for name in ("servicenow-client-secret", "graph.pem"):
        (tmp_path / "secrets").mkdir(exist_ok=True)
        (tmp_path / "secrets" / name).write_text("x", encoding="utf-8")

    tenant = load(file, {}).tenants["production"]

    assert (tenant.mode, tenant.answers, tenant.act_on_tickets_since) == ("observe", "silent", None)
    assert tenant.guards.countries == ("DE", "NL", "SE")


def test_every_key_of_a_section_is_told_in_the_shipped_file():
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    untold = {
        "client_secret",
        "password",
        "api_key",
        "teams_webhook",
        "smtp_password",
        "wake_token",
        "source",
        "state_dir",
    }  # never in the file

    def keys(model):
        for name, field in model.model_fields.items():
            inner = [
                a for a in (field.annotation, *getattr(field.annotation, "__args__", ())) if hasattr(a, "model_fields")
            ]
            yield from keys(inner[0]) if inner else [name]

    missing = {key for key in keys(Settings) if key not in untold and not re.search(rf"\b{key}\b", text)}
    assert not missing


def test_without_a_file_the_packaged_sandbox_is_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert load(None, {}).tenants["contoso"].sandbox


def test_the_argument_outranks_the_variable_and_the_variable_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, port in (("config.toml", 1), ("by-variable.toml", 2), ("by-argument.toml", 3)):
        (tmp_path / name).write_text(f"{SANDBOX}[web]\nport = {port}\n", encoding="utf-8")
    env = {"RECONCILER_CONFIG": "by-variable.toml"}

    assert load(None, {}).web.port == 1
    assert load(None, env).web.port == 2
    assert load(Path("by-argument.toml"), env).web.port == 3


def test_environment_outranks_the_secrets_folder_and_that_the_file(written, tmp_path):
    file = written(SANDBOX + "[web]\nport = 1\nhost = '0.0.0.0'\n[schedule]\nevery = '1m'\n")
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "RECONCILER_WEB__PORT").write_text("2\n", encoding="utf-8")
    (folder / "RECONCILER_WEB__HOST").write_text("127.0.0.2\n", encoding="utf-8")
    (folder / "something-else").write_text("ignored", encoding="utf-8")

    settings = load(file, {"RECONCILER_SECRETS_DIR": str(folder), "RECONCILER_WEB__PORT": "3"})

    assert (settings.web.port, settings.web.host) == (3, "127.0.0.2")
    assert settings.schedule.every == timedelta(minutes=1)


def test_names_with_a_dash_can_be_set_by_a_variable(written):
    file = written(SANDBOX + "[products.visio-plan-2]\nprice = 1\n")

    settings = load(file, {"RECONCILER_PRODUCTS__VISIO_PLAN_2__PRICE": "13.7"})

    assert str(settings.products["visio-plan-2"].price) == "13.7"


def test_the_state_folder_comes_from_its_variable(written):
    assert load(written(SANDBOX), {}).state_dir == Path("var")
    assert load(written(SANDBOX), {"RECONCILER_STATE_DIR": "/srv/state"}).state_dir == Path("/srv/state")


def test_other_programs_variables_do_not_matter(written):
    assert load(written(SANDBOX), {"PATH": "/bin", "WEB__PORT": "x", "REQUESTS_CA_BUNDLE": "/none"}).web.port == 8080


def test_a_price_is_read_by_its_digits(written):
    file = written(SANDBOX + "[products.visio-plan-2]\nprice = 13.7\n")

    assert str(load(file, {}).products["visio-plan-2"].price) == "13.7"


@pytest.mark.parametrize(
    ("text", "since"), [('"all"', "all"), ("2026-01-31", date(2026, 1, 31)), ('"2026-01-31"', date(2026, 1, 31))]
)
def test_tickets_count_from_a_date_or_all_of_them(written, text, since):
    file = written(f"[tenants.contoso]\nsandbox = true\nact_on_tickets_since = {text}\n")

    assert load(file, {}).tenants["contoso"].act_on_tickets_since == since


def test_a_new_tenant_observes_and_is_silent(real):
    tenant = load(real, {}).tenants["production"]

    assert (tenant.mode, tenant.answers) == ("observe", "silent")
    assert tenant.graph.tenant_id == "72f988bf-86f1-41af-91ab-2d7cd011db47"


def test_secrets_are_read_from_files_beside_the_configuration_when_they_are_needed(real, tmp_path):
    tenant = load(real, {}).tenants["production"]
    (tmp_path / "graph-secret").write_text("rotated\n", encoding="utf-8")

    assert tenant.servicenow.read_client_secret().get_secret_value() == "from-servicenow"
    assert tenant.graph.read_client_secret().get_secret_value() == "rotated"


def test_a_secret_from_the_environment_is_never_shown(written):
    text = REAL.replace('client_secret_file = "sn-secret"\n', "").replace('client_secret_file = "graph-secret"\n', "")
    env = {
        "RECONCILER_TENANTS__PRODUCTION__GRAPH__CLIENT_SECRET": "s3cret-graph",
        "RECONCILER_TENANTS__PRODUCTION__SERVICENOW__CLIENT_SECRET": "12345678",
    }

    settings = load(written(text), env)

    assert settings.tenants["production"].servicenow.read_client_secret().get_secret_value() == "12345678"
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "s3cret-graph" not in shown
        assert "12345678" not in shown


def test_an_empty_secret_file_is_told_without_its_contents(real, tmp_path):
    settings = load(real, {})
    (tmp_path / "graph-secret").write_text("\n", encoding="utf-8")

    with pytest.raises(UserError, match=r"graph\.client_secret: the file .* is empty"):
        settings.tenants["production"].graph.read_client_secret()


def test_the_digest_tells_configurations_apart_and_not_secrets(written, real):
    first = load(real, {})
    same = load(real, {"RECONCILER_STATE_DIR": "/elsewhere"})
    wider = load(written(REAL.replace("[tenants.production]", '[tenants.production]\nmode = "suggest"')), {})

    assert re.fullmatch(r"[0-9a-f]{64}", first.digest())
    assert first.digest() == same.digest()
    assert first.digest() != wider.digest()


def test_the_digest_does_not_change_when_a_secret_is_rotated(written):
    text = REAL.replace('client_secret_file = "graph-secret"\n', "")
    (written(text).parent / "sn-secret").write_text("x", encoding="utf-8")
    name = "RECONCILER_TENANTS__PRODUCTION__GRAPH__CLIENT_SECRET"

    assert load(written(text), {name: "a"}).digest() == load(written(text), {name: "b"}).digest()


def test_a_configuration_cannot_be_changed_afterwards(written):
    settings = load(written(SANDBOX), {})

    with pytest.raises(ValueError, match="frozen"):
        settings.tenants["contoso"].mode = "enforce"  # type: ignore[misc]


def test_the_clouds_of_microsoft_have_their_own_addresses(real, written):
    assert load(real, {}).tenants["production"].graph.endpoints()[0] == "https://graph.microsoft.com"

    china = load(written(REAL + 'cloud = "china"\n'), {}).tenants["production"].graph

    assert china.endpoints() == ("https://microsoftgraph.chinacloudapi.cn", "https://login.partner.microsoftonline.cn")


def test_the_shipped_file_is_plain_toml_without_secrets():
    data = tomllib.loads((ROOT / "config.toml").read_text(encoding="utf-8"))

    assert set(data["tenants"]) == {"contoso"}
    assert "password" not in str(data).lower()


@pytest.mark.parametrize(("text", "wait_s"), [("", 6.25), ("[tenants.contoso.graph]\nresource_units = 8000\n", 0.0)])
def test_reads_of_a_directory_keep_to_its_resource_units(written, tmp_path, text: str, wait_s: float):
    settings = load(written(SANDBOX + text), {"RECONCILER_STATE_DIR": str(tmp_path / "var")})

    with open_app(settings, "contoso") as app:
        assert app.graph.wire.budget is not None
        assert app.graph.wire.budget.take(5687.5) == pytest.approx(wait_s)
