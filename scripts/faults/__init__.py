"""What is promised whatever happens, tried: runs the tests and writes the page of their last results."""
