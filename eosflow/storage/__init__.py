"""How bytes get to disk whole and are recognised again."""
