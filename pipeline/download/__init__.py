"""``mbo download``: files from the vendor, into batch folders as ingest reads them."""
