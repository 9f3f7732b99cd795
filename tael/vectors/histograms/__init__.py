"""Native histograms, and classic ones made of bucket series."""
