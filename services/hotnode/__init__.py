"""ClickHouse's HTTP interface over the embedded engine, for laptops and tests."""
