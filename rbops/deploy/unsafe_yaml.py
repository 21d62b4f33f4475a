"""YAML for Ansible whose texts are inert: ``!unsafe`` marks what must never be taken for a template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from rbops.deploy.vault import Vault
from rbops.errors import UsageError, Where

__all__ = ["dump_unsafe", "load_plain", "opened"]


class _Unsafe(str):
    """Text for YAML with Ansible's ``!unsafe`` tag."""

    __slots__ = ()


class _Vault(str):
    """An encrypted value for YAML with Ansible's ``!vault`` tag."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes the two tags; nothing else is added to the safe dumper."""

    def ignore_aliases(self, data: Any) -> bool:
        """No anchors: equal values are written out."""
        del data
        return True


_Dumper.add_representer(_Unsafe, lambda dumper, value: dumper.represent_scalar("!unsafe", str(value), style='"'))
_Dumper.add_representer(_Vault, lambda dumper, value: dumper.represent_scalar("!vault", str(value), style="|"))


def _mark(value: Any) -> Any:
    if isinstance(value, str):
        return _Unsafe(value)
    if isinstance(value, Mapping):
        if set(value) == {"__ansible_vault"}:
            return _Vault(value["__ansible_vault"])
        if set(value) == {"__ansible_unsafe"}:
            return _Unsafe(value["__ansible_unsafe"])
        return {key: _mark(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [_mark(item) for item in value]
    return value


def dump_unsafe(body: Any) -> str:
    """YAML in which every text is ``!unsafe``, and what ``ansible-inventory`` shows as vaulted is ``!vault``."""
    return yaml.dump(_mark(body), Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=10**9)


def opened(value: Any, vault: Vault) -> Any:
    """``value`` with what is vaulted in it decrypted, where one of the passwords does it."""
    if isinstance(value, Mapping):
        if set(value) == {"__ansible_vault"}:
            try:
                return vault.decrypt(str(value["__ansible_vault"]), Where())
            except UsageError:
                return value
        return {key: opened(item, vault) for key, item in value.items()}
    if isinstance(value, list):
        return [opened(item, vault) for item in value]
    return value


class _Loader(yaml.SafeLoader):
    """Reads Ansible's two tags as :func:`dump_unsafe` takes them."""


def _scalar(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.constructor.ConstructorError(None, None, f"{node.tag} takes one text", node.start_mark)
    return str(loader.construct_scalar(node))


def _vault(loader: yaml.SafeLoader, node: yaml.Node) -> dict[str, str]:
    return {"__ansible_vault": _scalar(loader, node)}


_Loader.add_constructor("!unsafe", _scalar)
_Loader.add_constructor("!vault", _vault)


def load_plain(text: str) -> Any:
    """Read YAML with Ansible's tags; yaml.YAMLError when it is none, or has other tags."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with two harmless tags
