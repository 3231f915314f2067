-- Whatever the database grants to new tables by default is taken back.
REVOKE ALL ON shelfsight.workers FROM PUBLIC, anon, authenticated, service_role;
