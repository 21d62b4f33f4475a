from __future__ import annotations

import json
import stat
import textwrap
from pathlib import Path

import pytest

from rbops.deploy.inventory import load_inventory
from rbops.deploy.logins import target_of
from rbops.deploy.ssh.options import resolve
from rbops.errors import Mismatch, RbopsError, UsageError
from tests.lab.plans import mesh
from tests.support.errors import raises


def write(folder: Path, text: str, name: str = "hosts.yml") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def two(folder: Path, extra: str = "") -> Path:
    (folder / "key").touch()
    return write(
        folder,
        f"""\
        all:
          children:
            rbops_servers:
              hosts:
                n0: {{ansible_host: 10.82.0.10, ansible_user: root, ansible_ssh_private_key_file: {folder}/key{extra}}}
                n1:
                  ansible_host: 10.82.0.11
                  ansible_port: 2222
                  ansible_user: ops
                  ansible_ssh_common_args: -o IdentitiesOnly=yes -o ConnectTimeout=45
            rbops_testers:
              hosts:
                t1: {{ansible_connection: local, rbops_netns: rbops-x-t1, rbops_device: ext1, rbops_port: 1}}
                t0: {{ansible_connection: local, rbops_netns: rbops-x-t0, rbops_device: ext0, rbops_port: 0}}
        """,
    )


def test_servers_and_testers(tmp_path: Path) -> None:
    inventory = load_inventory(two(tmp_path))
    n0, n1 = inventory.servers
    assert (n0.name, n0.host, n0.port, n0.user, n0.key_files, n0.become) == (
        "n0",
        "10.82.0.10",
        22,
        "root",
        (tmp_path / "key",),
        False,
    )
    assert (n1.port, n1.user, n1.become, n1.identities_only) == (2222, "ops", True, True)
    assert (n0.connect_timeout_s, n1.connect_timeout_s) == (10.0, 45.0)
    assert [(t.name, t.port, t.netns, t.device, t.target) for t in inventory.testers] == [
        ("t0", 0, "rbops-x-t0", "ext0", None),
        ("t1", 1, "rbops-x-t1", "ext1", None),
    ]


def test_ini_with_group_vars_and_scripts_work(tmp_path: Path) -> None:
    folder = tmp_path / "inventory"
    (folder / "group_vars").mkdir(parents=True)
    write(folder, "[rbops_servers]\nn0 ansible_host=10.82.0.10\n", "hosts.ini")
    write(folder, "ansible_user: admin\n", "group_vars/rbops_servers.yml")
    assert load_inventory(folder).server("n0").user == "admin"
    listing = json.dumps(
        {"rbops_servers": {"hosts": ["n9"]}, "_meta": {"hostvars": {"n9": {"ansible_host": "10.82.9.9"}}}}
    )
    script = write(tmp_path, f"#!/bin/sh\ncat <<'END'\n{listing}\nEND\n", "dynamic")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    assert load_inventory(script).server("n9").host == "10.82.9.9"


def test_templates_stay_text(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    template = "{{ lookup('pipe', 'touch " + str(witness) + "') }}"
    inventory = load_inventory(two(tmp_path, f', motd: "{template}"'))
    assert f'motd: !unsafe "{template}"' in inventory.for_ansible()
    with raises(UsageError, "inventory.template", file="inventory", field="n0.ansible_password"):
        load_inventory(two(tmp_path, f', ansible_password: "{template}"'))
    assert not witness.exists()


def test_vaulted_values_stay_vaulted(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
        all:
          children:
            rbops_servers:
              hosts:
                n0:
                  motd: !vault |
                    $ANSIBLE_VAULT;1.1;AES256
                    36643064
        """,
    )
    assert "motd: !vault |" in load_inventory(path).for_ansible()


def test_limit_is_ansibles(tmp_path: Path) -> None:
    path = two(tmp_path)
    assert [t.name for t in load_inventory(path, "n*:!n0").servers] == ["n1"]
    assert load_inventory(path, "n1").known == ("n0", "n1")
    with raises(UsageError, "inventory.limit"):
        load_inventory(path, "nowhere")


def test_a_planned_server_that_is_absent_is_named(tmp_path: Path) -> None:
    with raises(Mismatch, "inventory.missing-server"):
        load_inventory(two(tmp_path)).matching(mesh(4))


def test_servers_come_in_the_plans_order(tmp_path: Path) -> None:
    path = write(tmp_path, "[rbops_servers]\nn1\nn0\nspare\n", "hosts.ini")
    assert [target.name for target in load_inventory(path).for_plan(mesh(2))] == ["n0", "n1"]


@pytest.mark.parametrize(
    ("text", "error", "code", "where"),
    [
        ("[[x", UsageError, "inventory.unreadable", {}),
        ("[other]\nh1\n", Mismatch, "inventory.no-servers", {}),
        ("[rbops_servers]\n-x\n", UsageError, "inventory.host-name", {}),
        ("[rbops_servers]\n../x\n", UsageError, "inventory.host-name", {}),
        (
            "[rbops_servers]\nn0 ansible_host=-oProxyCommand=id\n",
            UsageError,
            "inventory.address",
            {"field": "n0.ansible_host"},
        ),
        (
            "[rbops_servers]\nn0 ansible_connection=local\n",
            Mismatch,
            "inventory.connection",
            {"field": "n0.ansible_connection"},
        ),
        (
            "[rbops_servers]\nn0 ansible_ssh_private_key_file=/nonexistent\n",
            UsageError,
            "inventory.key-file",
            {"field": "n0.ansible_ssh_private_key_file"},
        ),
        (
            "[rbops_servers]\nn0 ansible_ssh_common_args='-o Nonsense=1'\n",
            UsageError,
            "ssh.options",
            {"server": "n0"},
        ),
        (
            "[rbops_servers]\nn0\n[rbops_testers]\nt0 ansible_connection=local\n",
            Mismatch,
            "inventory.tester-port",
            {"field": "t0.rbops_port"},
        ),
        (
            "[rbops_servers]\nn0\n[rbops_testers]\nt0 rbops_port=0 rbops_loop=3\n",
            UsageError,
            "inventory.loop",
            {"field": "t0.rbops_loop"},
        ),
    ],
)
def test_what_cannot_be_used_is_an_error_at_its_place(
    tmp_path: Path, text: str, error: type[RbopsError], code: str, where: dict[str, str]
) -> None:
    with raises(error, code, **where):
        load_inventory(write(tmp_path, text, "hosts.ini"))


def test_a_missing_inventory_is_a_usage_error(tmp_path: Path) -> None:
    with raises(UsageError, "inventory.not-found"):
        load_inventory(tmp_path / "absent.yml")


def test_openssh_resolves_jump_hosts_and_files(tmp_path: Path) -> None:
    known = tmp_path / "known hosts"
    known.touch()
    options = resolve(
        "10.82.0.10", ["-F", "none", "-o", f'UserKnownHostsFile="{known}"', "-J", "gate.example"], name="n0"
    )
    assert known in options.known_hosts
    assert (options.jump, options.client_only) == ("gate.example", ("ProxyJump",))
    options = resolve("10.82.0.10", ["-F", "none", "-o", "ProxyCommand=nc %h %p"], name="n0")
    assert (options.jump, options.client_only) == ("a ProxyCommand", ("ProxyCommand",))


def test_several_inventories_are_merged(tmp_path: Path) -> None:
    first = write(tmp_path, "[rbops_servers]\nn0 ansible_host=10.82.0.10 ansible_user=a\n", "a.ini")
    second = write(tmp_path, "[rbops_servers]\nn1 ansible_host=10.82.0.11\n[all:vars]\nansible_user=b\n", "b.ini")
    inventory = load_inventory([first, second])
    assert [(target.name, target.user) for target in inventory.servers] == [("n0", "a"), ("n1", "b")]
    with raises(UsageError, "inventory.not-found", file=str(tmp_path / "c.ini")):
        load_inventory([first, tmp_path / "c.ini"])


CANARY = "canary-7"

FOREIGN = {
    "verbosity": {"ANSIBLE_VERBOSITY": "4"},
    "debug": {"ANSIBLE_DEBUG": "1"},
    "colour": {"ANSIBLE_FORCE_COLOR": "1"},
    "callbacks": {"ANSIBLE_STDOUT_CALLBACK": "minimal", "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1"},
    "a warning for each thing": {"ANSIBLE_DEPRECATION_WARNINGS": "1", "ANSIBLE_LOCALHOST_WARNING": "1"},
    "a locale": {"LANG": "de_DE.UTF-8", "LC_ALL": "C"},
}


@pytest.mark.parametrize("variables", FOREIGN.values(), ids=FOREIGN.keys())
def test_the_callers_environment_changes_no_listing(
    tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert [target.host for target in load_inventory(two(tmp_path)).servers] == ["10.82.0.10", "10.82.0.11"]


def test_ansible_cfg_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (tmp_path / "ansible.cfg").write_text(
        "[defaults]\nremote_user = ops\nremote_port = 2222\nprivate_key_file = ./key\nverbosity = 3\ntimeout = 33\n"
        "[privilege_escalation]\nbecome_flags = -H -S -i\n"
        "[ssh_connection]\nssh_args = -F none -o ControlMaster=auto -o ProxyJump=gate\n"
        "ssh_common_args = -o Ciphers=aes256-ctr\n"
    )
    monkeypatch.chdir(tmp_path)
    inventory = load_inventory(
        write(tmp_path, "[rbops_servers]\nn0\nn1 ansible_user=root ansible_ssh_args=-Fnone\n", "hosts.ini")
    )
    n0, n1 = inventory.servers
    assert (n0.user, n0.port, n0.key_files, n0.jump, n0.become) == ("ops", 2222, (tmp_path / "key",), "gate", True)
    assert (n0.connect_timeout_s, n0.become_with, n0.client_only) == (33.0, ("sudo", "-i"), ("Ciphers", "ProxyJump"))
    assert (n1.user, n1.jump, n1.become) == ("root", None, False)
    text = inventory.for_ansible()
    assert "ProxyJump=gate" in text
    (tmp_path / "ansible.cfg").write_text("no section\n")
    with raises(UsageError, "settings.unreadable"):
        load_inventory(tmp_path / "hosts.ini")


def test_vaulted_logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rbops.deploy.credentials import Asking
    from rbops.deploy.vault import encrypt

    def vaulted(text: str, indent: int) -> str:
        return "!vault |\n" + textwrap.indent(encrypt(text, "the vault's"), " " * indent)

    path = tmp_path / "hosts.yml"
    path.write_text(
        "all:\n  children:\n    rbops_servers:\n      hosts:\n        n0:\n          ansible_user: "
        f"{vaulted('ops', 12)}          ansible_become_password: {vaulted(CANARY, 12)}"
        f"          motd: {vaulted('hello', 12)}"
    )
    with raises(UsageError, "vault.password", field="n0.ansible_user"):
        load_inventory(path)
    password = tmp_path / "password"
    password.write_text("the vault's\n")
    asking = Asking(vault_password_files=(password,))
    inventory = load_inventory(path, None, asking)
    n0 = inventory.server("n0")
    assert (n0.user, n0.become, n0.become_password) == ("ops", True, CANARY)
    assert inventory.secret
    assert 'motd: !unsafe "hello"' in inventory.for_ansible()
    assert "canary" not in repr(inventory) + str(inventory) + repr(n0)
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(password))
    assert load_inventory(path).server("n0").become_password == CANARY
    # A whole file, as group_vars usually are.
    folder = tmp_path / "group_vars"
    folder.mkdir()
    (folder / "all.yml").write_text(encrypt("ansible_port: 2299\n", "the vault's"))
    assert load_inventory(path).server("n0").port == 2299
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE")
    assert load_inventory(path, None, asking).server("n0").port == 2299
    password.write_text("another\n")
    with raises(UsageError, "inventory.unreadable"):
        load_inventory(path, None, asking)


def test_extra_variables_come_first(tmp_path: Path) -> None:
    inventory = load_inventory(two(tmp_path), None, None, ["ansible_user=deploy", '{"ansible_port": 2200}'])
    assert {(target.user, target.port, target.become) for target in inventory.servers} == {("deploy", 2200, True)}


@pytest.mark.parametrize(
    "connection", ["ansible.builtin.ssh", "ansible.legacy.ssh", "ansible.builtin.paramiko_ssh", "smart"]
)
def test_names_of_connections(connection: str) -> None:
    assert target_of("n0", {"ansible_connection": connection, "ansible_ssh_common_args": "-F none"}).host == "n0"


@pytest.mark.parametrize(
    ("variables", "error", "code"),
    [
        ({"ansible_become_method": "su"}, Mismatch, "inventory.become-method"),
        ({"ansible_become_method": "community.general.doas"}, Mismatch, "inventory.become-method"),
        ({"ansible_become_user": "www-data"}, Mismatch, "inventory.become-user"),
        ({"ansible_ssh_executable": "/opt/other/ssh"}, UsageError, "inventory.ssh-executable"),
        ({"ansible_ssh_private_key": "-----BEGIN"}, UsageError, "inventory.unsupported"),
        ({"ansible_ssh_pkcs11_provider": "/lib/x.so"}, UsageError, "inventory.unsupported"),
        ({"ansible_connection": "community.docker.docker"}, Mismatch, "inventory.connection"),
        ({"ansible_user": "{{ who }}"}, UsageError, "inventory.template"),
    ],
)
def test_what_is_not_supported_is_said(variables: dict[str, str], error: type[RbopsError], code: str) -> None:
    with raises(error, code):
        target_of("n0", variables)


def test_a_public_key_file_stands_for_an_agents_key(tmp_path: Path) -> None:
    (tmp_path / "id.pub").write_text("ssh-ed25519 AAAA me\n")
    target = target_of(
        "n0", {"ansible_ssh_private_key_file": str(tmp_path / "id.pub"), "ansible_ssh_common_args": "-F none"}
    )
    assert target.client_only == (f"IdentityFile {tmp_path}/id.pub",)
