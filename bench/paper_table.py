"""The README's table "paper / rbops": ``python bench/paper_table.py`` prints it as Markdown."""

from __future__ import annotations

from rbops.predict.paper import Entry, entries


def main() -> None:
    print("| what | section | paper | rbops | kind |\n| --- | --- | --- | --- | --- |")
    for entry in entries():
        cells = (entry.name, entry.section, shown(entry, entry.paper), shown(entry, entry.rbops), entry.kind)
        print(f"| {' | '.join(cells)} |")


def shown(entry: Entry, value: float) -> str:
    scales = {"bps": (1e9, "Gbps"), "s": (1e-6, "us"), "part": (0.01, "%"), "x": (1.0, "x")}
    scale, unit = scales.get(entry.unit, (1.0, entry.unit))
    number = value / scale
    return f"{number:,.4g} {unit}" if number < 1e4 else f"{number:,.0f} {unit}"


if __name__ == "__main__":
    main()
