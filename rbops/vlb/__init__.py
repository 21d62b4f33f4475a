"""Direct VLB (paper 3.2, 6.1): the reference model of one server, and a simulator of the cluster."""
