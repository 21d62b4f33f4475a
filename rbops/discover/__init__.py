"""Facts of real servers, the check of their cabling, and both written into a spec."""
