"""The Click data plane: two elements, and what compiles them and talks to Click on a server."""
