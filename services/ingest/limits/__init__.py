"""Limits of each tenant (rates, series, attribute values), and how tenants share common resources. Pure, except ``tenants``."""
