//! The engine's laws, in small runs.
