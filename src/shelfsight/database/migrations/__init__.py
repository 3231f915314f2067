"""How the tables came to be: one file per version of the schema, run in order by Alembic."""
