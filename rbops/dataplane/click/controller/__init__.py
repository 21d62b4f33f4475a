"""What of the Click data plane runs where rbops does: nothing of it is part of rbops-node."""
