//! stub
/// x
pub mod private_redis;
