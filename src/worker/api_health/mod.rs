//! How the remote API is, as the calls of one stage tell it: the breaker, slow start after it was
//! closed, and a log of faults that an outage does not fill.

mod breaker;
mod fault_log;
mod slow_start;

pub(crate) use self::breaker::Breaker;
pub(crate) use self::fault_log::FaultLog;
pub(crate) use self::slow_start::SlowStart;
