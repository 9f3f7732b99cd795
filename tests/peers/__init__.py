"""Other people's senders against the whole suite: what they send is read back, field by field."""
