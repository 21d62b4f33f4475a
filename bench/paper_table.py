"""The README's table "paper / rbops": ``python bench/paper_table.py`` prints it as Markdown."""

from __future__ import annotations

from rbops.paper import Entry, entries


def main() -> None:
    print("| what | section | paper | rbops | kind |\n| --- | --- | --- | --- | --- |")
    for entry in entries():
        cells = (entry.name, entry.section, shown(entry, entry.paper), shown(entry, entry.rbops), entry.kind)
        print(f"| {' | '.join(cells)} |")


def shown(entry: Entry, value: float | None) -> str:
    if value is None:
        return "not modelled"
    scales = {"bps": (1e9, "Gbps"), "Hz": (1e9, "GHz"), "pps": (1e6, "Mpps"), "part": (0.01, "%")}
    scales["s"] = (1e-6, "us") if entry.paper < 1e-3 else (1e-3, "ms")
    scale, unit = scales.get(entry.unit, (1.0, entry.unit))
    number = value / scale
    return (f"{number:,.4g} {unit}" if number < 1e4 else f"{number:,.0f} {unit}").rstrip()


if __name__ == "__main__":
    main()
