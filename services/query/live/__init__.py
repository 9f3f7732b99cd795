"""Live feeds: the items of the WAL's subjects as they are appended, for those who watch."""
