//! What leastload costs: CPU per request in real Envoys, time per pick in core.
