//! stub
/// x
pub fn job_ended(_a: &str, _b: &str) {}
/// x
pub fn poll_lateness(_a: f64) {}
/// x
pub fn accept_to_url(_a: f64) {}
/// x
pub fn redis_error(_a: &'static str) {}
/// x
pub fn conflict() {}
/// x
pub fn pickup(_a: f64) {}
