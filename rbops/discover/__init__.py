"""What real servers are and how they are cabled: facts, the cabling check, and both written into a spec."""
