"""Files compared with what the code makes."""
