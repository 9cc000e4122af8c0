"""Small configurations of the ops, a file for each family."""
