"""The user's own processing: a compound element that rbops inserts into the packet path at the input server.

    elementclass Firewall { input -> IPFilter(allow tcp, deny all) -> output }

or its body alone. Packets are pushed into input 0; those that go on are pushed out of output 0, and those
pushed out of output 1, if it has one, are dropped and counted. One instance runs per data-plane core.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rbops.click.devices import use
from rbops.click.elements import Driver, Table, bundled
from rbops.click.flatten import FlatElement, flatten
from rbops.click.graph import Graph
from rbops.click.parser import Parsed, parse, parse_body
from rbops.click.processing import check_ports, check_processing, check_reuse, class_names, unknown_classes
from rbops.click.rules import Breach, check_rules
from rbops.click.source import ClickText
from rbops.click.threads import Homes, Reach, reach
from rbops.click.tree import Base, Compound, Connection, Element, Tree
from rbops.errors import Diagnostic, SpecError, UsageError, Where
from rbops.spec.router import RULES

__all__ = ["Fragment", "fragment", "fragment_of"]

_ALLOWANCES = {rule: name for name, rule in RULES.items()}
"""Rule -> what `router.allow` calls it."""

_INSTANCE = "fragment"
_ENTRY_THREAD = 1
_REFUSED = {
    "StaticThreadSched": "rbops assigns the threads",
    "BalancedThreadSched": "rbops assigns the threads",
    "SortedTaskSched": "rbops assigns the threads",
    "ControlSocket": "rbops-node has the control socket",
    "ChatterSocket": "rbops-node has the control socket",
    "DPDKInfo": "rbops sets DPDK up",
    "NetmapInfo": "rbops sets the devices up",
    "ChangeUID": "the service runs as the user it needs",
    "DriverManager": "the driver runs as long as the router",
    "QuitWatcher": "the driver runs as long as the router",
    "FromHost": "the kernel's side belongs to rbops",
    "HostTap": "the kernel's side belongs to rbops",
    "ToHost": "the kernel's side belongs to rbops",
    "KernelTap": "the kernel's side belongs to rbops",
    "KernelTun": "the kernel's side belongs to rbops",
    "FromSocket": "packets only come in at input",
    "FromRawSocket": "packets only come in at input",
    "RawSocket": "packets only come in at input",
}


@dataclass(frozen=True, slots=True)
class Fragment:
    """A fragment that can run.

    ``name`` is its element class (empty: the file is a body), ``outputs`` 1 or 2. ``classes`` are the C++ element
    classes it needs, ``packages`` what it requires. ``tasks`` are the elements in it that run by themselves, by their
    names inside: without a StaticThreadSched for each instance they run on thread 0. ``breaches`` are of rules that
    were allowed.
    """

    path: str
    text: str
    name: str
    outputs: int
    classes: tuple[str, ...]
    packages: tuple[str, ...]
    tasks: tuple[str, ...]
    breaches: tuple[Breach, ...]

    def declaration(self, name: str) -> str:
        """Click text at file scope that makes the fragment an element class called ``name``."""
        text = self.text if self.text.endswith("\n") else f"{self.text}\n"
        if not self.name:
            return f"elementclass {name} {{\n{text}}}\n"
        return text if self.name == name else f"{text}elementclass {name} {self.name};\n"


def fragment(
    path: Path, table: Table | None = None, driver: Driver = "userlevel", allow: Collection[str] = ()
) -> Fragment:
    """Read and check ``router.click_element``.

    ``allow`` names the rules it may break. Raises SpecError (2) with every error, and UsageError (2) when the file
    cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = str(error.strerror) if isinstance(error, OSError) else "not valid UTF-8"
        raise UsageError(
            reason,
            hint="router.click_element names a file of Click text",
            code="fragment.unreadable",
            where=Where(file=str(path)),
        ) from error
    return fragment_of(ClickText(str(path), text), table, driver, allow)


def fragment_of(
    text: ClickText, table: Table | None = None, driver: Driver = "userlevel", allow: Collection[str] = ()
) -> Fragment:
    """The same for text that was read already."""
    table = table or bundled()
    parsed, body = _body(text, table)
    errors = [*parsed.errors, *_shape(body)]
    if errors:
        raise SpecError(errors)
    router, wrong = flatten(_around(body, parsed.tree))
    graph = Graph.of(router, table, driver)
    kinds = {element.kind for element in router.elements}
    known = {*table.packages} >= {r.value for r in router.requirements if r.kind == "package"}
    errors = [
        *wrong,
        *class_names(parsed.tree, table, driver),
        *_refused(router.elements, driver),
        *(unknown_classes(parsed.tree, table, driver, kinds) if known else ()),
    ]
    processing, conflicts = check_processing(graph)
    errors += conflicts or [*check_reuse(graph, processing), *check_ports(graph, processing)]
    names = {element.name: index for index, element in enumerate(router.elements)}
    for output in range(body.outputs):
        sink = names.get(f"output {output}")
        if sink is not None and processing.inputs[sink] == "l" and not errors:
            message = f"output {output} of the fragment is pull, expected push"
            errors.append(body.span.diagnostic(message, "put an Unqueue before it", code="fragment.pull-output"))
    if errors:
        raise SpecError(errors)
    home = Homes({names["input"]: _ENTRY_THREAD}, _ENTRY_THREAD + 1, {})
    walked = reach(graph, processing, home)
    if not walked.pushed.get(names["output 0"]):
        raise SpecError([body.span.diagnostic("no packet can leave at output 0", code="fragment.no-output")])
    breaches = tuple(_of_fragment(breach) for breach in check_rules(graph, processing, home, walked)[0])
    denied = [breach.place for breach in breaches if breach.rule not in allow]
    if denied:
        raise SpecError(denied)
    made = Fragment(
        text.name,
        text.characters,
        body.name,
        body.outputs,
        tuple(sorted({e.kind for e in router.elements if e.name.startswith(f"{_INSTANCE}/")})),
        tuple(sorted({r.value for r in router.requirements if r.kind == "package"})),
        tuple(_tasks(router.elements, walked)),
        breaches,
    )
    if parse(ClickText(text.name, made.declaration("Fragment")), table.has).errors:
        raise SpecError(
            [body.span.diagnostic("a comment or quote of the fragment is never closed", code="fragment.unclosed")]
        )
    return made


def _body(text: ClickText, table: Table) -> tuple[Parsed, Compound]:
    """The compound element that the file declares, or is."""
    parsed = parse(text, table.has)
    compounds = [kind for _, kind in parsed.tree.classes if isinstance(kind, Compound)]
    if parsed.tree.root.elements or not compounds:
        parsed = parse_body(text, table.has)
        compounds = [kind for _, kind in parsed.tree.classes if isinstance(kind, Compound)]
    elif len(compounds) > 1:
        message = "a fragment declares one element class, and this is another"
        hint = "declare it inside the first one's braces"
        raise SpecError(
            [
                *parsed.errors,
                *(
                    compound.span.diagnostic(message, hint, code="fragment.several-bodies")
                    for compound in compounds[1:]
                ),
            ]
        )
    return parsed, compounds[0]


def _shape(body: Compound) -> Iterator[Diagnostic]:
    if isinstance(body.overload, Compound | Base):
        yield body.span.diagnostic(
            "'||' is not supported in a fragment, expected one body", code="fragment.several-bodies"
        )
    if body.formals:
        yield body.span.diagnostic(
            "parameters are not supported in a fragment", "use define($NAME value) inside", code="fragment.parameters"
        )
    if body.inputs != 1:
        hint = "packets enter at `input`, as in `input -> Counter -> output`"
        yield body.span.diagnostic(f"the fragment has {body.inputs} inputs, expected 1", hint, code="fragment.inputs")
    if body.outputs not in (1, 2):
        hint = "packets continue at `output`; at `[1] output`, where there is one, they are dropped"
        yield body.span.diagnostic(
            f"the fragment has {body.outputs} outputs, expected 1 or 2", hint, code="fragment.outputs"
        )


def _around(body: Compound, tree: Tree) -> Tree:
    """A router of nothing but the fragment: a source before it, and a sink behind each output."""
    span = body.span
    elements = [
        Element("input", Base("InfiniteSource"), "", span),
        Element(_INSTANCE, body, "", span),
        *(Element(f"output {port}", Base("Discard"), "", span) for port in range(body.outputs)),
    ]
    connections = [Connection(0, 0, 1, 0, span), *(Connection(1, p, 2 + p, 0, span) for p in range(body.outputs))]
    root = Compound("", span, 0, (), tree.root.defines, tuple(elements), tuple(connections), ())
    return Tree(root, tree.requirements, (), tree.used)


def _refused(elements: tuple[FlatElement, ...], driver: Driver) -> Iterator[Diagnostic]:
    for element in elements:
        reason = _REFUSED.get(element.kind)
        if reason is None and use(element, driver, 1, fastclick=False) is not None:
            reason = "the devices and their queues belong to rbops"
        if reason is not None:
            yield element.span.diagnostic(f"{element.kind} cannot be in a fragment: {reason}", code="fragment.element")


def _inner(name: str) -> str:
    return name.removeprefix(f"{_INSTANCE}/")


def _of_fragment(breach: Breach) -> Breach:
    """The breach as of a fragment, whose threads have no numbers yet."""
    name = _inner(breach.elements[0])
    place = breach.place
    message = (
        f"packets change their core at '{name}': the core that received them pushes them in, "
        "and a task of the fragment's own pulls them out"
        if place.message.startswith("packets change")
        else f"'{name}' is used by the cores that receive packets and by a task of the fragment's own at once"
    )
    loss = (
        f"it costs {breach.predicted_loss:.1%} of the rate; push on the whole path, or write "
        f"`allow: [{_ALLOWANCES[breach.rule]}]`"
    )
    place = replace(place, message=f"{breach.rule}: {message}", hint=loss)
    return Breach(breach.rule, place, (name,), (), breach.predicted_loss)


def _tasks(elements: tuple[FlatElement, ...], walked: Reach) -> Iterator[str]:
    for index in walked.own:
        if elements[index].name.startswith(f"{_INSTANCE}/"):
            yield _inner(elements[index].name)
