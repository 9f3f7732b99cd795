"""One file a protocol in."""
