"""What is shipped beside the code: an inventory of what it stands on, its audit, and the artefacts of a release."""
