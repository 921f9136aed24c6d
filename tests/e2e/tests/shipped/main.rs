//! The shipped configurations at work together: twins tell their servers' load, proxies steer by it,
//! a gateway lets nothing of it out.

mod crash;
mod edge;
mod lab;
mod together;
mod two_role;
mod weighted;
