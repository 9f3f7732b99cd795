"""What one tenant may send: rates, series and attribute values; and how tenants share what all of them use. Pure but for ``tenants``."""
