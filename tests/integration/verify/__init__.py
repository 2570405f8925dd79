"""`ringlog verify` on the whole product. A package, so that its stack ends with its last test."""
