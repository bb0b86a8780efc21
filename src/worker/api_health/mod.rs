//! How the remote API is, as the calls of one stage tell it: the breaker with its runs of bad signs, slow
//! start after it was closed, what is wrong with this worker alone, and a log of faults that an outage
//! does not fill.

mod breaker;
mod fault_log;
mod health;
mod runs;
mod slow_start;

pub(crate) use self::breaker::{Breaker, Standing};
pub(crate) use self::fault_log::FaultLog;
pub(crate) use self::health::Health;
pub(crate) use self::runs::Caller;
pub(crate) use self::slow_start::SlowStart;
