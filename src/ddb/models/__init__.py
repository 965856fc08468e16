"""Published weights that ddb knows: repository, revision and licence; download and verification."""
