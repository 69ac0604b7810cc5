//! Models of what the service keeps, and the machine that drives a service next to one.

pub mod driver;
pub mod secrets;
pub mod sessions;
