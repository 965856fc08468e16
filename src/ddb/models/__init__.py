"""Which published weights ddb knows: where they lie, at which revision, under which licence; getting and checking."""
