"""What an audit writes: audit.html, audit.json, JUnit XML."""
