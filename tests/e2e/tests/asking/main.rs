//! What servers say of their load, in real Envoys: stamps on responses, and probes for which
//! requests wait.

mod health;
mod lab;
mod probes;
mod stamps;
mod waits;
