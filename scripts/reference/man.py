"""What stands in each man page: generated lists between a few words of our own."""

from __future__ import annotations

from collections.abc import Iterable

from rbops import __version__
from rbops.spec.starter import PRESETS, starter
from scripts.reference.model import Key, Program, Section
from scripts.reference.roff import ManPage

__all__ = ["controller_page", "node_page", "spec_page"]

Codes = Iterable[tuple[int, str]]


def controller_page(program: Program, codes: Codes) -> str:
    """``rbops(1)``."""
    page = ManPage("rbops", 1, __version__)
    page.heading("NAME").line("rbops - turn a rack of Linux servers into one router")
    page.heading("SYNOPSIS").line("`rbops` [OPTIONS] VERB [ARGUMENTS]")
    page.heading("DESCRIPTION").paragraph(
        *program.text,
        "A router spec, see rbops-spec(5), says what the router must do and what servers there are. rbops computes "
        "topology, cabling and every server's cores and queues, renders configuration and data plane, pushes them with "
        "Ansible as one transaction with a revert timer on each server, compares the live kernels with the plan, and "
        "sends packets through the router to prove that it forwards.",
        "Data goes to stdout, messages and progress to stderr.",
    )
    _command_line(page, program, codes)
    page.heading("ENVIRONMENT").terms(
        [
            ("NO_COLOR", "When set, output has no colours."),
            ("XDG_STATE_HOME", "Where run directories are kept, in rbops/runs; by default ~/.local/state."),
            ("CLICK_PREFIX", "Where a Click is installed that is not on PATH, for labs and for `rbops click-check`."),
            ("CLICKPATH", "Where `rbops click-check` looks for Click's libraries and element maps."),
        ]
    )
    page.heading("FILES").terms(
        [
            ("~/.local/state/rbops/runs/ID", "What one apply or rollback pushed, and how it ended; the last twenty."),
            ("/var/lib/rbops/labs/NAME", "A lab: inventory, keys, disks, consoles."),
            ("/var/cache/rbops", "Base images of labs."),
        ]
    )
    page.heading("EXAMPLES").code(
        "rbops init my-router\n"
        "rbops check my-router/router.yml\n"
        "rbops plan my-router/router.yml\n"
        "rbops apply my-router/router.yml -i INVENTORY\n"
        "rbops verify my-router/router.yml -i INVENTORY\n"
        "rbops selftest my-router/router.yml -i INVENTORY"
    )
    page.heading("SEE ALSO").line("rbops-spec(5), rbops-node(8), ansible-inventory(1), ethtool(8), tc(8)")
    return page.render()


def node_page(program: Program, codes: Codes) -> str:
    """``rbops-node(8)``."""
    page = ManPage("rbops-node", 8, __version__)
    page.heading("NAME").line("rbops-node - make one server what the router's plan says")
    page.heading("SYNOPSIS").line("`rbops-node` VERB [OPTIONS]")
    page.heading("DESCRIPTION").paragraph(
        *program.text,
        "rbops-node reads /etc/rbops/node.json and makes the kernel's state equal to it: NICs, queues, interrupts, "
        "addresses, routes, boot parameters and the data plane. It reads each setting back. `rbops apply` installs and "
        "calls it; by hand it shows what differs and undoes an unconfirmed change. It needs root.",
    )
    _command_line(page, program, codes)
    page.heading("FILES").terms(
        [
            ("/etc/rbops/node.json", "This server's part of the plan."),
            ("/var/lib/rbops", "Its own state: snapshot of an open change, former values of settings, lock."),
            ("/sys/fs/bpf/rbops", "Pins of the loaded XDP data plane."),
            ("rbops.service", "Runs `rbops-node boot` when the server boots."),
            ("rbops-recovery.service", "Undoes a first change, or a `remove`, at boot; there only meanwhile."),
            ("rbops-exporter.service", "Runs `rbops-node export` where the spec asks for metrics."),
            ("rbops-sflow.service", "Runs `rbops-node sflow` where the spec has a collector of samples."),
            ("rbops-watch.service", "Runs `rbops-node watch`: tells the data plane which cables are dead."),
        ]
    )
    page.heading("SEE ALSO").line("rbops(1), rbops-spec(5), ethtool(8), systemctl(1)")
    return page.render()


def spec_page(sections: Iterable[Section]) -> str:
    """``rbops-spec(5)``."""
    page = ManPage("rbops-spec", 5, __version__)
    page.heading("NAME").line("rbops-spec - the router spec of rbops")
    page.heading("DESCRIPTION").paragraph(
        "A spec is one YAML file that says what the router must do and what it is made of. `rbops check` reads it and "
        "reports every mistake with its line and column; `rbops schema` prints its JSON Schema for editors; "
        "`rbops init` writes a starter. Two keys are required, everything else has a default.",
        "Every quantity carries its unit: 10Gbps, 100ms, 64B. Scalars are taken as the text that was written. Paths of "
        "files are relative to the spec's folder. `[]` in a heading stands for each item of a list, `NAME` for each "
        "key of a mapping.",
    )
    page.heading("KEYS")
    for section in sections:
        page.part(section.path or "top level")
        if section.text:
            page.paragraph(section.text)
        page.terms((key.name, _explained(key)) for key in section.keys)
    page.heading("EXAMPLES")
    for name in PRESETS:
        page.part(f"rbops init --preset {name}").code(starter(name)["router.yml"].decode())
    page.heading("SEE ALSO").line("rbops(1), rbops-node(8)")
    return page.render()


def _explained(key: Key) -> str:
    facts = [key.kind, "required" if key.required else None]
    facts += [f"default {key.default}" if key.default is not None else None]
    facts += [f"example {key.example}" if key.example is not None else None]
    return f"{key.text} [{'; '.join(fact for fact in facts if fact)}]"


def _command_line(page: ManPage, program: Program, codes: Codes) -> None:
    """Options, verbs and exit codes of a program."""
    page.heading("OPTIONS").options(program.options)
    page.heading("VERBS")
    for verb in program.verbs:
        page.part(verb.name).code(verb.usage).paragraph(*verb.text).options(verb.options)
    page.heading("EXIT STATUS").terms((str(code), text) for code, text in codes)
