"""The provider ``vagrant``: the lab as virtual machines, whose kernels, interrupts, boots and NICs are their own."""
