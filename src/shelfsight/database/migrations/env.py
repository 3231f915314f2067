"""What Alembic runs: the migrations, on the connection and in the transaction that it was handed."""

from alembic import context

from shelfsight.database.tables import SCHEMA

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    version_table="schema_version",
    version_table_schema=SCHEMA if connection.dialect.name == "postgresql" else None,
)
with context.begin_transaction():
    context.run_migrations()
