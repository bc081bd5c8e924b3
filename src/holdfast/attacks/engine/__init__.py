"""What attacks are made of: the loops, the pieces of a step, and attacks made of attacks."""
