"""Sales from tills, checked against the catalogue and booked once; and the product list that tills search."""
