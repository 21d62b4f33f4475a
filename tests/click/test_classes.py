"""What a configuration needs of a Click."""

from __future__ import annotations

from rbops.click.classes import element_classes
from rbops.click.elements import bundled

TEXT = """\
require(package "rbops");
require(library routes.click);
elementclass Path { input -> Strip(14) -> Table -> output; }  // IPsecAES is only written of here
elementclass Unused { input -> Print -> output; }
source :: FromDevice($DEV) -> Path -> vlb :: DirectVLB(SELF 0, OWNERS 0 1, VIA 1:0, LINKS 1000, QUOTA 1);
vlb -> Discard;
"""


def test_the_classes_of_the_flat_router_without_rbopss_own() -> None:
    libraries = {"routes.click": "elementclass Table { input -> DirectIPLookup(0.0.0.0/0 0) -> output; }"}
    found = element_classes(TEXT, bundled(), libraries)
    assert found == ("DirectIPLookup", "Discard", "FromDevice", "Strip")
