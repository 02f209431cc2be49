"""The course as a whole, for instructors and CI: executed, published, pointed to a fork."""
