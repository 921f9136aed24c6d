//! What leastload reads from others, fed with anything: bodies of the fuzz targets.
