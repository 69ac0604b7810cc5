//! What the crate promises, through its public API and over real HTTP on the loopback.

mod support;
