"""The course as a whole, for instructors and CI: executed, published, pointed to a fork."""

import sys

# nbformat imports jsonschema, and that, where it can, a parser of web addresses that nobody here
# needs: building its grammar takes longer than all the rest of a worker's start.
sys.modules.setdefault("rfc3987_syntax", None)
