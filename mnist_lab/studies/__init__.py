"""How fast training is, how near the machine's limit, and whether speed costs accuracy."""
