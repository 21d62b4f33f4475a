from __future__ import annotations

import json
import stat
import textwrap
from pathlib import Path

import pytest

from rbops.deploy.inventory import load_inventory
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
                  ansible_become_password: !vault |
                    $ANSIBLE_VAULT;1.1;AES256
                    36643064
        """,
    )
    assert "ansible_become_password: !vault |" in load_inventory(path).for_ansible()


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
