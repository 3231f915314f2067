"""What PostgreSQL is asked: about the table itself, its rows, and the documents of the search beside them."""
