"""The XDP data plane, driven by BPF_PROG_RUN and, for the swaps, by real traffic."""
