"""Series and samples in ClickHouse."""
