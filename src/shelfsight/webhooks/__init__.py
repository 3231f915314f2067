"""Events sent to servers of others: written with what happened, sent until they are taken."""
