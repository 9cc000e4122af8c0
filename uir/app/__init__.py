"""The web page `uir app`: restoring and diagnosing in a browser."""
