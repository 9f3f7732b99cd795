"""The ClickHouse adapter: DDL in .sql, flattening of OTLP in the server, row translation, readers and writers."""
