"""What devices call: the files of published versions, served straight from storage."""
