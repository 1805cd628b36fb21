"""The demo: the whole product on one machine, from an empty folder to a report."""
