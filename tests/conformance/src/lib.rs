//! The same scenarios in `leastload-testhost` and in real Envoys, their traces compared.
