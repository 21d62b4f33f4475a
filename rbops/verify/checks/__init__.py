"""The verification suite, one subject a file; cases come from :mod:`rbops.verify.plugin`."""
