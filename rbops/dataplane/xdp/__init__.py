"""The XDP data plane: BPF C, its FIB compiler, its loader and the libbpf binding under it."""
