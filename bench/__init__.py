"""How fast the service is, as ratios to peers that run in the same minutes on the same machine."""
