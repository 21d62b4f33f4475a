"""What of the kernel data plane runs where rbops does."""
