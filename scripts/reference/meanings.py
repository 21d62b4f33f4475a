"""What an error code means where the message comes from elsewhere: the system, Ansible, Click or several lines."""

from __future__ import annotations

__all__ = ["MEANINGS"]

MEANINGS = {
    "apply.check": "Ansible's check mode found a task that would fail; task and server are named",
    "apply.check-unreachable": "Ansible reached a server no more during its check; the server is named",
    "apply.half-confirmed": "some servers confirmed the change and others did not answer; each is named",
    "apply.play": "a task failed or a server was lost during the push; every server was rolled back",
    "apply.rollback-failed": "a server could not be rolled back, or not be asked; each is named with the reason",
    "click-check.element-map": "Click's element map cannot be read, with the system's reason",
    "click-check.unreadable": "the configuration cannot be read, with the system's reason",
    "click.compile": "the bundled elements do not compile against this Click, with the compiler's first error",
    "click.directive": "a line begins with # and is not `#line`",
    "click.kernel-ipsec": "Click's kernel dialect has no IPsec elements",
    "click.lab-no-click": "a lab's data plane is Click and this machine has no usable one",
    "demo.no-click": "the demo's data plane is Click and this machine has no usable one",
    "discover.driver": "a port that was found elsewhere has another driver than the plan's; each is named",
    "discover.unreadable": "the spec to be changed cannot be read, with the reason",
    "extra-vars.file": "the file of `-e @FILE` cannot be read, with the system's reason",
    "node.config-field": "a field of node.json is missing or has a value that it cannot have",
    "node.config-unreadable": "node.json cannot be read, with the system's reason",
    "node.no-routes": "the file of routes cannot be read, with the system's reason",
    "node.undo-failed": "a setting could not be restored; each is named",
    "plan.no-packet-cpu": "no CPU is left for packets, or fewer than the ports need",
    "predict.unreadable": "a file cannot be read, with the system's reason",
    "render.route-file": "the file of routes has lines that cannot be used; each is named",
    "render.unwritable": "the folder for the rendered files cannot be written, with the system's reason",
    "scale.plot-unwritable": "the picture cannot be written, with the system's reason",
    "selftest.route-file": "the file of routes cannot be read, with the system's reason",
    "spec.invalid": "the spec has errors; each has a place and a code of its own",
    "spec.unknown-key": "a section has a key that does not exist",
    "ssh.no-answer": "the server, or its jump host, did not answer in time",
    "ssh.no-connection": "no connection to the server could be made, with the reason",
    "status.unreachable": "a server could not be asked; each is named with the reason",
    "tester.permission": "a tester's process may not do what it has to; the testers need root",
    "tester.system-call": "a system call of a tester failed, with the system's reason",
    "usage.invalid": "the command line has an unknown option or a value that it cannot have",
    "xdp.bpf": "the kernel refused a BPF program or map, with its log",
    "xdp.not-compiled": "the BPF program is not compiled",
}
