"""What of the XDP data plane runs where rbops does: nothing of it is sent to servers as a program."""
