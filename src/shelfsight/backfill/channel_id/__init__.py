"""The channel of each purchase, payment and stock adjustment, out of the ledger.

`rules.py` has the names, `table.py` and `statements.py` the SQL, as steps that know when they are done, `script.py`
makes a script for psql of the same steps, `store.py` talks to PostgreSQL, `inspection.py` looks, `migration.py` acts.
"""
