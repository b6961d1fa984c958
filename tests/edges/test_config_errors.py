"""A wrong configuration is one sentence: file, line, key, what was expected, and the nearest right word."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.config import load
from reconciler.config.lines import line_of
from reconciler.errors import UserError

OK = "[tenants.contoso]\nsandbox = true\n"
REAL = """[tenants.p]
[tenants.p.servicenow]
instance = "https://x.service-now.com"
client_id = "a"
client_secret_file = "there"
[tenants.p.graph]
tenant_id = "72f988bf-86f1-41af-91ab-2d7cd011db47"
client_id = "72f988bf-86f1-41af-91ab-2d7cd011db47"
"""
ITEM = '[[items]]\nname = "Licence"\nclose = "none"\n'
VISIO = OK + "[products.visio-plan-2]\n"
STAGES = '[[rules]]\nid = "dear"\nkind = "stage_required"\nproducts = ["m365-e5"]\n'

WRONG = [
    ("x = [1,,2]", ["line 1, column 8", "not TOML"]),
    ("", ["there is no tenant", "[tenants.NAME]"]),
    (OK + "[web]\nprot = 1", ["line 4", "no key 'prot' in web", "did you mean 'port'?"]),
    ("[tennants.contoso]\nsandbox = true", ["no key 'tennants'", "did you mean 'tenants'?"]),
    (OK + "[tenants.contoso.graf]\nx = 1", ["line 3", "'graf'", "did you mean 'graph'?"]),
    ("[tenants.Contoso]\nsandbox = true", ["line 1", "tenants.Contoso", "lower-case"]),
    (OK + '[web]\nport = "http"', ["line 4", "web.port is 'http'", "a whole number"]),
    (OK + "[web]\nport = 99999", ["web.port is 99999", "at most 65535"]),
    (OK + 'mode = "enforced"', ["line 3", "tenants.contoso.mode is 'enforced'", "did you mean 'enforce'?"]),
    (OK + 'act_max_age = "a month"', ["line 3", "tenants.contoso.act_max_age", '"30d"']),
    (OK + "act_max_age = 30", ["tenants.contoso.act_max_age", '"30d"']),
    (OK + 'act_max_age = "0d"', ["tenants.contoso.act_max_age", "longer than nothing"]),
    (OK + 'act_on_tickets_since = "yesterday"', ["act_on_tickets_since", "2026-12-31", '"all"']),
    (OK + 'timezone = "Europe/Belin"', ["tenants.contoso.timezone", "Europe/Berlin"]),
    (OK + '[tenants.contoso.guards]\ngrants_per_cycle = "many"', ["line 4", "grants_per_cycle", '"2%, 5 to 50"']),
    (
        OK + "[tenants.contoso.guards.products.viso-plan-2]\ngrants_per_day = 3",
        ["line 3", "a budget for the product 'viso-plan-2'", "did you mean 'visio-plan-2'?"],
    ),
    (OK + "[tenants.contoso.guards.products.visio-plan-2]\ngrants = 3", ["line 4", "no key 'grants'"]),
    (OK + '[tenants.contoso.guards.products.visio-plan-2]\ncost_per_day = "x"', ["line 4", "cost_per_day"]),
    (OK + '[tenants.contoso.guards]\nallow_groups = "one"', ["allow_groups is 'one'", 'a list, like ["one", "two"]']),
    (OK + '[tenants.contoso.guards]\ncountries = ["Germany"]', ["'Germany'", "'DE'"]),
    (OK + '[tenants.contoso.approvals.approvers]\nmanagr = ["a"]', ["managr", "did you mean 'manager'?"]),
    (OK + '[tenants.contoso.approvals]\nescalate_after = "9d"', ["tenants.contoso.approvals", "grow in this order"]),
    (OK + '[tenants.contoso.servicenow]\ncomplete_states = ["2"]', ["state '2' is in two of"]),
    (OK + '[tenants.contoso.servicenow]\ninstance = "https://x.y"', ["sandbox = true", "remove servicenow.instance"]),
    (OK + '[web]\ntls_key_file = "k"', ["web", "tls_certificate_file and tls_key_file belong together"]),
    (
        OK + 'mode = "enforce"\n[[items]]\nname = "a"\nproduct = "teams"',
        ["tenants.contoso.servicenow needs our_groups"],
    ),
    ("tenants = 3", ["line 1", "tenants is 3", "a table"]),
    (OK + "enforce_share = 1.5", ["line 3", "enforce_share is 1.5", "at most 1"]),
    (OK + "enforce_share = 0.123456", ["line 3", "at most 4 decimal places"]),
    (OK + "[tenants.contoso.promotion]\ndecided_min = 1", ["line 4", "at least 5"]),
    (OK + '[tenants.contoso.promotion]\nwait = "90d"', ["promotion", "grow in this order"]),
    ('state_dir = "x"\n' + OK, ["line 1", "state_dir", "RECONCILER_STATE_DIR"]),
    (OK + ITEM, ["line 3", "item 'Licence'", 'product = "KEY"']),
    (OK + ITEM + 'product = "viso-plan-2"', ["line 6", "item 'Licence'", "did you mean 'visio-plan-2'?"]),
    (
        OK + ITEM + 'product = "teams"\nreopen = "maybe"',
        ["line 7", "item 'Licence', reopen is 'maybe'", "true or false"],
    ),
    (OK + ITEM + 'product = "teams"\n' + ITEM + 'product = "teams"', ["line 8", "'Licence' is declared twice"]),
    (OK + ITEM + "[items.variables]\nprodct = 'x'", ["line 7", "no key 'prodct'", "did you mean 'product'?"]),
    (OK + ITEM + 'product = "teams"\ntenants = ["contso"]', ["the tenant 'contso'", "did you mean 'contoso'?"]),
    (OK + '[[rules]]\nid = "a"\nkind = "eligability"', ["rule 'a'", "'eligability'", "did you mean 'eligibility'?"]),
    (OK + '[[rules]]\nid = "a"', ["rule 'a' needs kind", "stage_required"]),
    (OK + '[[rules]]\nid = "a"\nkind = "eligibility"\ndepartmnts = ["x"]', ["line 6", "did you mean 'departments'?"]),
    (OK + STAGES + 'stages = ["manger"]', ["line 7", "rule 'dear', stages is 'manger'", "did you mean 'manager'?"]),
    *(
        (f'{OK}[[rules]]\nid = "a"\nkind = "{kind}"\n{typo}', ["line 6", "rule 'a'", f"did you mean '{right}'?"])
        for kind, typo, right in [
            ("eligibility", 'group = ["x"]', "groups"),
            ("eligibility", 'product = ["teams"]\ndepartments = ["x"]', "products"),
            ("role_product", 'titels = ["x"]\nproduct = "teams"\ninstead_of = ["m365-e5"]', "titles"),
            ("role_product", 'instead_off = ["m365-e5"]\ntitles = ["x"]\nproduct = "teams"', "instead_of"),
            ("role_product", 'product = "teems"\ntitles = ["x"]\ninstead_of = ["m365-e5"]', "teams"),
            ("role_product", 'instead_of = ["m365-e6"]\ntitles = ["x"]\nproduct = "teams"', "m365-e5"),
            ("conflict", 'prducts = ["teams", "m365-e5"]', "products"),
            ("conflict", 'products = ["teams", "m365-e6"]', "m365-e5"),
            ("end_date_required", 'employee_type = ["x"]', "employee_types"),
            ("end_date_required", 'max_day = 3\nproducts = ["teams"]', "max_days"),
            ("auto_approve", 'price_maxx = 3\nproducts = ["teams"]', "price_max"),
            ("auto_approve", 'changes = ["enable_plans"]\nprice_max = 3', "enable_plan"),
            ("auto_approve", 'sample_prcent = 3\nprice_max = 3\nproducts = ["teams"]', "sample_percent"),
            ("stage_required", 'price_abve = 3\nstages = ["manager"]', "price_above"),
            ("stage_required", 'assurance = "stong"\nprice_above = 3\nstages = ["manager"]', "strong"),
            ("stage_required", 'stages = [{ stage = "manager", quorm = 2 }]\nprice_above = 3', "quorum"),
            ("stage_required", 'stages = [{ stage = "telcom", quorum = 2 }]\nprice_above = 3', "telecom"),
            ("opener_approves", 'opener = ["x"]', "openers"),
            ("deny", 'user = ["x"]', "users"),
            ("deny", 'domain = ["x"]', "domains"),
            ("deny", 'products = ["teems"]', "teams"),
            ("deny", 'tenants = ["contso"]\nproducts = ["teams"]', "contoso"),
        ]
    ),
    *(
        (f'{OK}[[rules]]\nid = "a"\nkind = "{wrong}"', ["line 5", "rule 'a'", f"did you mean '{right}'?"])
        for wrong, right in [
            ("conflicts", "conflict"),
            ("dney", "deny"),
            ("stages_required", "stage_required"),
            ("autoapprove", "auto_approve"),
            ("opener_aproves", "opener_approves"),
            ("role_products", "role_product"),
            ("end_date_require", "end_date_required"),
        ]
    ),
    (OK + '[[rules]]\nid = "a"\nkind = "deny"', ["rule 'a'", "users, domains, departments, groups, products"]),
    (OK + STAGES + 'stages = ["manager", "manager"]', ["rule 'dear'", "'manager' twice", "quorum"]),
    (OK + STAGES + 'stages = ["telecom"]', ["nobody for 'telecom'", "rule 'dear'"]),
    (OK + STAGES.replace("-e5", "-e6") + 'stages = ["manager"]', ["'m365-e6'", "did you mean 'm365-e5'?"]),
    (OK + (STAGES + 'stages = ["manager"]\n') * 2, ["line 9", "two rules with the id 'dear'"]),
    (OK + "[products.visio-plan-3]\nprice = 1", ["line 3", "visio-plan-3", "did you mean 'visio-plan-2'?"]),
    (VISIO + "price = -1", ["line 4", "products.visio-plan-2.price is -1", "at least 0"]),
    (VISIO + 'skus = ["VISIOCLINT"]', ["line 4", "no SKU 'VISIOCLINT'", "did you mean 'VISIOCLIENT'?"]),
    (VISIO + 'skus = ["MCOPSTN5"]', ["'MCOPSTN5'"]),
    (VISIO + 'skus = ["00000000-0000-0000-0000-000000000001"]', ["no SKU", "sku_names"]),
    (VISIO + 'path = "group"', ["line 3", "needs group"]),
    (VISIO + 'aliases = ["Project"]', ["line 3", "'Project' belongs to the product project-plan-3"]),
    (VISIO + 'window = "soon"', ["line 4", "window", '"15m"']),
    (VISIO + 'sku_names = { "x" = "Y" }', ["sku_names", "'x' is no id"]),
    ('[tenants.p]\nmode = "enforce"', ['tenants.p: mode "enforce" needs credentials', "servicenow lacks instance"]),
    (REAL, ["tenants.p", "needs credentials", "graph lacks client_id and one of"]),
    (REAL + 'client_secret_file = "gone"', ["line 9", "tenants.p.graph.client_secret_file", "there is no file"]),
    (REAL + 'client_secret_file = "there"\nmanaged_identity = true', ["only one of client_secret_file and managed_id"]),
    (REAL.replace("https", "http"), ["line 3", "tenants.p.servicenow.instance", "an https address"]),
    (REAL.replace("https://", "https://me:hunter2@"), ["tenants.p.servicenow.instance", "an https address"]),
    (REAL + 'base_url = "https://graph.example"', ["base_url and authority belong together"]),
]


@pytest.fixture
def complaint(tmp_path):
    (tmp_path / "there").write_text("x", encoding="utf-8")

    def complaint(text: str, env: dict[str, str] | None = None) -> str:
        file = tmp_path / "config.toml"
        file.write_text(text, encoding="utf-8")
        with pytest.raises(UserError) as caught:
            load(file, env or {})
        assert caught.value.exit_code == 2
        return str(caught.value)

    return complaint


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_a_wrong_file_is_told_in_one_sentence(complaint, text, words):
    sentence = complaint(text)

    assert [word for word in words if word not in sentence] == []
    assert "config.toml" in sentence
    assert "\n" not in sentence
    assert "pydantic" not in sentence.lower()
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"RECONCILER_WEB__PROT": "1"}, ["RECONCILER_WEB__PROT", "did you mean RECONCILER_WEB__PORT?"]),
        ({"RECONCILER_WBE__PORT": "1"}, ["did you mean RECONCILER_WEB__PORT?"]),
        ({"RECONCILER_TENANTS__CONTSO__TIMEZONE": "UTC"}, ["did you mean RECONCILER_TENANTS__CONTOSO__TIMEZONE?"]),
        ({"RECONCILER_FOO": "1"}, ["RECONCILER_FOO names no key"]),
        ({"RECONCILER_SOURCE": "x"}, ["RECONCILER_SOURCE names no key"]),
        ({"RECONCILER_WEB": "{}"}, ["RECONCILER_WEB names a whole section"]),
        ({"RECONCILER_TENANTS": '{"contoso": {"mode": "enforce"}}'}, ["names a whole section"]),
        ({"RECONCILER_TENANTS__CONTOSO": '{"mode": "enforce"}'}, ["names a whole section"]),
        ({"RECONCILER_WEB__PORT": "http"}, ["environment variable RECONCILER_WEB__PORT", "a whole number"]),
        ({"RECONCILER_SCHEDULE__EVERY": "often"}, ["environment variable RECONCILER_SCHEDULE__EVERY", '"15m"']),
        ({"RECONCILER_NOTIFY__MAIL_TO": "a@b"}, ["RECONCILER_NOTIFY__MAIL_TO", "JSON"]),
        ({"RECONCILER_SECRETS_DIR": "/no/such/folder"}, ["RECONCILER_SECRETS_DIR", "cannot be read"]),
    ],
)
def test_a_wrong_variable_is_told_by_its_name(env, words):
    sentence = complaint_of(env)

    assert [word for word in words if word not in sentence] == []
    assert "\n" not in sentence


def complaint_of(env: dict[str, str]) -> str:
    with pytest.raises(UserError) as caught:
        load(None, env)
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "RECONCILER_RULES",
        "RECONCILER_ITEMS",
        "RECONCILER_TENANTS__CONTOSO__MODE",
        "RECONCILER_TENANTS__CONTOSO__ANSWERS",
        "RECONCILER_TENANTS__CONTOSO__ENFORCE_SHARE",
        "RECONCILER_TENANTS__CONTOSO__PROMOTION__AGREEMENT_MIN",
        "RECONCILER_TENANTS__CONTOSO__SANDBOX",
        "RECONCILER_TENANTS__CONTOSO__ACT_ON_TICKETS_SINCE",
        "RECONCILER_TENANTS__CONTOSO__GUARDS__DENY_USERS",
        "RECONCILER_TENANTS__CONTOSO__GUARDS",
        "RECONCILER_TENANTS__CONTOSO__APPROVALS__FALLBACK",
        "RECONCILER_TENANTS__CONTOSO__SERVICENOW__AGENTS",
        "RECONCILER_PRODUCTS__VISIO_PLAN_2__MODE",
        "RECONCILER_PRODUCTS__VISIO_PLAN_2__GROUP",
        "reconciler_tenants__contoso__mode",
    ],
)
def test_rules_modes_scopes_and_approvers_are_the_file_s_alone(name):
    assert "are set in the file only" in complaint_of({name: "[]"})


def test_a_priority_without_a_reason_is_refused(complaint):
    sentence = complaint('[tenants.c]\nsandbox = true\n[tenants.c.guards.priorities]\nRITM0000001 = " "\n')

    assert "RITM0000001 needs a reason" in sentence


def test_a_secret_in_the_file_is_refused_and_not_repeated(complaint):
    sentence = complaint(REAL + 'client_secret = "hunter2"')

    assert "line 9" in sentence
    assert "client_secret_file" in sentence
    assert "hunter2" not in sentence


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no configuration file .*none\.toml"):
        load(tmp_path / "none.toml", {})


def test_a_file_that_is_not_text_is_named(tmp_path):
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(UserError, match="not UTF-8"):
        load(tmp_path / "config.toml", {})


def test_more_faults_are_counted_and_the_first_one_is_told(complaint):
    sentence = complaint(OK + '[web]\nprot = 1\n[schedule]\nevery = "often"\n')

    assert "'prot'" in sentence
    assert "1 more to mend" in sentence


@settings(deadline=None, max_examples=120)
@given(
    section=st.sampled_from(["web", "store", "notify", "sandbox", "tenants.contoso", "tenants.contoso.guards"]),
    key=st.sampled_from(["port", "url", "mail_to", "seed", "mode", "held_tickets", "nonsense"]),
    value=st.sampled_from(
        ["1", "-1", '"x"', "true", "[]", "[[1]]", "{}", "{ a = 1 }", "1.5", "2026-01-01", '["a", 1]']
    ),
)
def test_any_value_anywhere_is_taken_or_told(tmp_path_factory, section, key, value):
    file = tmp_path_factory.mktemp("config") / "config.toml"
    head = "" if section == "tenants.contoso" else "[tenants.contoso]\nsandbox = true\n"
    extra = "sandbox = true\n" if section == "tenants.contoso" else ""
    file.write_text(f"{head}[{section}]\n{extra}{key} = {value}\n", encoding="utf-8")

    try:
        load(file, {})
    except UserError as error:
        assert str(file) in str(error)
        assert "\n" not in str(error)


def test_a_line_is_found_for_keys_tables_and_entries_of_arrays():
    text = '[a]\nx = 1\n[[i]]\nn = 1\n[[i]]\nn = 2\n[i.v]\n"odd key" = 3\nb.c = 4\n'

    assert line_of(text, ("a", "x")) == 2
    assert line_of(text, ("a", "gone")) == 1
    assert line_of(text, ("i", 0, "n")) == 4
    assert line_of(text, ("i", 1, "n")) == 6
    assert line_of(text, ("i", 1, "v", "odd key")) == 8
    assert line_of(text, ("i", 1, "v", "b", "c")) == 9
    assert line_of(text, ("nowhere",)) is None
