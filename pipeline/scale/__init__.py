"""How many workers each pool should have. Pure: signals in, decisions with their reason out."""
