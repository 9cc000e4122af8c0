"""Building blocks that two or more networks, losses or metrics share; plain modules and functions, none registered."""
