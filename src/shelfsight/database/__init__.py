"""The database: engine, tables and migrations; one schema on SQLite and PostgreSQL."""
